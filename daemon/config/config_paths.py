"""The paths inside a config: all in the roots, and the data there. `path_keys` says what names a path, `path_rules` what it may be."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from daemon.config.path_keys import Kind, Named, named_in, named_in_sample
from daemon.config.path_rules import is_hub_name, refusal
from daemon.config.schema_words import pointer
from daemon.errors import DaemonError, ForbiddenError
from daemon.paths import Roots

_MODEL_KEY = "base_model_name"
_MOST = 10_000
"""Values that are looked at: each costs some looks at the disk."""


@dataclass(frozen=True, slots=True)
class Finding:
    line: str
    is_error: bool = True
    is_refused: bool = False
    """The client may not name it, wherever it is asked: `force` changes nothing."""


def check(config: Mapping[str, Any], schema: Mapping[str, Any], roots: Roots) -> Iterator[Finding]:
    """What is wrong with the paths in *config*. Values of the wrong type are left to the schema. Defaults of *schema* only warn."""
    refused: set[tuple[str | int, ...]] = set()
    for count, named in enumerate(named_in(config)):
        if count == _MOST:
            yield Finding(f"(config): it names more than {_MOST} paths", is_refused=True)
            return
        if line := refusal(named, roots):
            refused.add(named.place)
            yield Finding(line, is_refused=True)
    if isinstance(concepts := config.get("concepts"), list):
        yield from _check_concepts(concepts, schema, roots, refused)
    elif concepts is None and ("concept_file_name",) not in refused:
        yield from _check_list_file("concept_file_name", "concepts", config, schema, roots)
    if config.get("samples") is None and ("sample_definition_file_name",) not in refused:
        # OneTrainer reads it only when it draws samples: training starts without it.
        yield from (
            Finding(found.line, False) for found in _check_list_file("sample_definition_file_name", "samples", config, schema, roots)
        )


def refuse_sample(sample: Mapping[str, Any], config: Mapping[str, Any], roots: Roots) -> None:
    """Raises ForbiddenError (code `outside_roots`) when *sample* names a path that the training of *config* may not have."""
    for named in named_in_sample(sample, config):
        if line := refusal(named, roots):
            raise ForbiddenError(line.removeprefix("/samples/0/"), code="outside_roots")


def _check_concepts(concepts: list[Any], schema: Mapping[str, Any], roots: Roots, refused: set[tuple[str | int, ...]]) -> Iterator[Finding]:
    """Whether the folders are there. Only those of enabled concepts are read; where they may lie is checked for all."""
    enabled = 0
    for index, concept in enumerate(concepts):
        if not isinstance(concept, Mapping) or concept.get("enabled") is False:
            continue
        enabled += 1
        place = ("concepts", index, "path")
        if isinstance(text := concept.get("path"), str) and place not in refused:
            yield from _check_folder(Named(place, text, Kind.DATASET), schema, roots)
    if not enabled:
        yield Finding("/concepts: none is enabled: there is nothing to learn from", is_error=False)


def _check_folder(named: Named, schema: Mapping[str, Any], roots: Roots) -> Iterator[Finding]:
    where = pointer(named.place)
    if _knows_the_hub(schema) and "/" in named.text and is_hub_name(named, roots):
        yield Finding(f"{where}: {_shown(named.text)} is no folder here; it is looked for on the Hugging Face hub", is_error=False)
        return
    try:
        path = roots.resolve_for_trainer(named.text, where, hidden=True)
    except DaemonError as error:
        yield Finding(error.message, is_refused=True)
        return
    if not path.is_dir():
        yield Finding(f"{where}: {_shown(named.text)} is not a folder: {path} {'is a file' if path.exists() else 'does not exist'}")


def _check_list_file(key: str, instead: str, config: Mapping[str, Any], schema: Mapping[str, Any], roots: Roots) -> Iterator[Finding]:
    default = schema.get("properties", {}).get(key, {}).get("default", "")
    text = config.get(key, default)
    if not isinstance(text, str) or not text:
        return
    try:
        path = roots.resolve_for_trainer(text, pointer([key]))
    except DaemonError as error:
        yield Finding(error.message, is_error=key in config, is_refused=key in config)
        return
    if not path.is_file():
        line = f"{pointer([key])}: {_shown(text)} is not a file: {path} does not exist; name one, or put the list into {instead}"
        yield Finding(line, is_error=key in config)


def _knows_the_hub(schema: Mapping[str, Any]) -> bool:
    """The built-in trainer loads no model and no data set: it ignores the key of the one, and needs a folder for the other."""
    return _MODEL_KEY not in schema.get("x-ignored", ())


def _shown(text: str) -> str:
    return json.dumps(text[:200], ensure_ascii=False)
