"""The paths inside a config: data that must be there, and folders that are written to and must lie in the roots."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from daemon.config.schema_words import pointer
from daemon.errors import DaemonError
from daemon.paths import Roots

WRITTEN = ("workspace_dir", "cache_dir", "debug_dir", "output_model_destination")
"""Keys of OneTrainer's TrainConfig that name what a training writes."""


@dataclass(frozen=True, slots=True)
class Finding:
    line: str
    is_error: bool = True


def check(config: Mapping[str, Any], schema: Mapping[str, Any], roots: Roots) -> Iterator[Finding]:
    """What is wrong with the paths in *config*. Values of the wrong type are left to the schema. Defaults of *schema* only warn."""
    for key in WRITTEN:
        if isinstance(text := config.get(key), str) and text:
            path = _resolve(text, pointer([key]), roots)
            if isinstance(path, Finding):
                yield path
    if isinstance(concepts := config.get("concepts"), list):
        yield from _check_concepts(concepts, roots)
    elif concepts is None:
        yield from _check_list_file("concept_file_name", "concepts", config, schema, roots)
    if config.get("samples") is None:
        # OneTrainer reads it only when it draws samples: training starts without it.
        yield from (
            Finding(found.line, False) for found in _check_list_file("sample_definition_file_name", "samples", config, schema, roots)
        )


def _check_concepts(concepts: list[Any], roots: Roots) -> Iterator[Finding]:
    enabled = 0
    for index, concept in enumerate(concepts):
        if not isinstance(concept, Mapping) or concept.get("enabled") is False:
            continue
        enabled += 1
        if not isinstance(text := concept.get("path"), str):
            continue
        where = pointer(["concepts", index, "path"])
        path = _resolve(text, where, roots)
        if isinstance(path, Finding):
            yield path
        elif not path.is_dir():
            yield Finding(f"{where}: {_shown(text)} is not a folder: {path} {'is a file' if path.exists() else 'does not exist'}")
    if not enabled:
        yield Finding("/concepts: none is enabled: there is nothing to learn from", is_error=False)


def _check_list_file(key: str, instead: str, config: Mapping[str, Any], schema: Mapping[str, Any], roots: Roots) -> Iterator[Finding]:
    default = schema.get("properties", {}).get(key, {}).get("default", "")
    text = config.get(key, default)
    if not isinstance(text, str) or not text:
        return
    path = _resolve(text, pointer([key]), roots)
    if isinstance(path, Finding):
        yield path
    elif not path.is_file():
        line = f"{pointer([key])}: {_shown(text)} is not a file: {path} does not exist; name one, or put the list into {instead}"
        yield Finding(line, is_error=key in config)


def _resolve(text: str, where: str, roots: Roots) -> Path | Finding:
    try:
        return roots.resolve(text, where)
    except DaemonError as error:
        return Finding(error.message)


def _shown(text: str) -> str:
    return json.dumps(text[:200], ensure_ascii=False)
