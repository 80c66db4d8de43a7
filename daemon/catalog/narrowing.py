"""The schema of a config as it applies to one model type and one training method. Pure."""

import difflib
from collections.abc import Mapping, Sequence
from typing import Any

from daemon.config.described import Described
from daemon.errors import InvalidError

_OF_METHOD = {"LORA": ("lora_", "oft_", "lokr_", "peft_type", "bundle_additional_embeddings"), "EMBEDDING": ("embedding",)}
"""Keys that begin so are OneTrainer's LoRA tab and embedding tab, which its window shows for that method alone (TrainUIController)."""


def whole(described: Described) -> dict[str, Any]:
    """The JSON Schema, and beside it what no schema can say: `x-catalog`, `x-model-types`, `x-optimizers`."""
    catalog = {
        "backend": described.backend, "config_version": described.config_version, **described.facts,
        "missing": list(described.missing), "problem": described.problem,
    }  # fmt: skip
    return {
        **described.schema, "x-catalog": catalog, "x-model-types": list(described.model_types), "x-optimizers": dict(described.optimizers),
    }  # fmt: skip


def narrowed(described: Described, model_type: str | None, training_method: str | None) -> dict[str, Any]:
    """What `whole` says, with the keys, training methods and output formats that apply, as far as the checkout tells them.

    Raises:
        InvalidError: there is no such model type or method, or the one cannot be trained with the other (code `not_applicable`).
    """
    schema = whole(described)
    model = _chosen("model_type", model_type, described.by_model_type) if model_type else {}
    methods = model.get("training_methods") or sorted({name for one in described.model_types for name in one.get("training_methods", ())})
    method = _chosen("training_method", training_method, {name: {} for name in methods}) and training_method if training_method else None
    properties = {
        key: value for key, value in described.root.get("properties", {}).items() if _applies(key, described.model_types, model, method)
    }
    choices: dict[str, Sequence[str]] = {"model_type": [model_type]} if model_type else {}
    if training_method:
        choices["training_method"] = [training_method]
    elif "training_methods" in model:
        choices["training_method"] = methods
    if (model or method) and (formats := _formats([model] if model else described.model_types, [method] if method else methods)):
        choices["output_model_format"] = formats
    for key, names in choices.items():
        if key in properties:
            properties[key] = _limited(properties[key], names)
    root = {**described.root, "properties": properties}
    if "$ref" in described.schema:
        name = described.schema["$ref"].rpartition("/")[2]
        schema["$defs"] = {**schema["$defs"], name: root}
    else:
        schema |= root
    schema["x-model-types"] = [model] if model else list(described.model_types)
    return schema


def _chosen(what: str, name: str, known: Mapping[str, Any]) -> Any:
    if name in known:
        return known[name] or True
    near = difflib.get_close_matches(name[:100], list(known), n=1)
    hint = f"; did you mean {near[0]}?" if near else ""
    message = f"{what}: {name[:100]!r} does not apply{hint}; allowed: {', '.join(known) or 'nothing is known'}"
    raise InvalidError(message, code="not_applicable", allowed=list(known))


def _applies(key: str, model_types: Sequence[Mapping[str, Any]], model: Mapping[str, Any], method: str | None) -> bool:
    """A part, and what is named after it (`text_encoder_2_layer_skip`), goes with the models that have it."""
    if method is not None:
        for owner, prefixes in _OF_METHOD.items():
            own = any(key == prefix or (prefix.endswith("_") and key.startswith(prefix)) for prefix in prefixes)
            if own and method != owner:
                return False
    if "parts" not in model:
        return True
    parts = {part for one in model_types for part in one.get("parts", ())}
    named_after = max((part for part in parts if key == part or key.startswith(f"{part}_")), key=len, default=None)
    return named_after is None or named_after in model["parts"]


def _formats(models: Sequence[Mapping[str, Any]], methods: Sequence[str]) -> list[str]:
    told = [model.get("output_formats", {}).get(method, ()) for model in models for method in methods]
    return list(dict.fromkeys(name for names in told for name in names))


def _limited(schema: Mapping[str, Any], names: Sequence[str]) -> dict[str, Any]:
    """*schema* of a name, which may now be one of *names* alone; a default that is none of them goes."""
    kept = {key: value for key, value in schema.items() if key not in {"$ref", "enum", "anyOf", "type"}}
    if kept.get("default") not in names:
        kept.pop("default", None)
    return {"type": "string", "enum": list(names), **kept}
