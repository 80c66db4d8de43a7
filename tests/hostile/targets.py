"""Every place of the API that takes a name or a path, found in the document that the daemon serves, and those inside a config."""

import base64
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

Json = Mapping[str, Any]

CONFIG_KEYS: tuple[tuple[str | int, ...], ...] = (
    ("base_model_name",), ("lora_model_name",), ("vae", "model_name"), ("unet", "model_name"), ("transformer", "model_name"),
    ("prior", "model_name"), ("text_encoder_4", "model_name"), ("embedding", "model_name"), ("additional_embeddings", 0, "model_name"),
    ("vae_model_name",), ("embedding_model_names", 0), ("workspace_dir",), ("cache_dir",), ("debug_dir",), ("huggingface_cache_dir",),
    ("quantization", "cache_dir"), ("output_model_destination",), ("save_filename_prefix",), ("concept_file_name",),
    ("sample_definition_file_name",), ("concepts", 0, "path"), ("concepts", 0, "text", "prompt_path"),
    ("concepts", 0, "text", "tag_dropout_special_tags"), ("samples", 0, "base_image_path"), ("samples", 0, "mask_image_path"),
    ("samples", 0, "prompt"), ("secrets", "cloud", "key_file"), ("__preset",), ("__preset", "base_model_name"), ("some_new_path",),
)  # fmt: skip
STARTS = {"/config/validate", "/runs", "/training/start"}


@dataclass(frozen=True)
class Target:
    """One parameter of one operation. *place* is `path`, `query`, `body`, or `config` for a key inside a config."""

    method: str
    path: str
    place: str
    keys: tuple[str | int, ...]
    body: Json | None

    @property
    def names_a_trainers_path(self) -> bool:
        return self.place == "config"

    def request(self, text: str, config: Json, *, as_sample: bool) -> tuple[str, bytes | None]:
        """The URL, encoded, and the body, with *text* in the parameter."""
        if as_sample and self.keys == ("sample_id",):
            text = base64.urlsafe_b64encode(text.encode("utf-8", "surrogatepass")).decode().rstrip("=")
        url, query, body = self.path, "", dict(self.body) if self.body is not None else None
        if self.place == "path":
            url = url.replace(f"{{{self.keys[0]}}}", _escaped(text) or "%20")
        elif self.place == "query":
            query = f"?{self.keys[0]}={_escaped(text)}"
        elif body is not None:
            if "config" in body and (self.place == "config" or self.keys[0] not in {"config_path", "preset"}):
                body["config"] = json.loads(json.dumps(config))
            body = _with(body, (("config", *self.keys) if self.place == "config" else self.keys), text)
        url = "".join(f"/{_filled(part)}" for part in url.split("/")[1:])
        return url + query, None if body is None else json.dumps(body).encode()


def targets(document: Json) -> list[Target]:
    """All of them; a route that is new is among them."""
    found: list[Target] = []
    for path, item in document["paths"].items():
        for method, operation in item.items():
            found += _of_operation(method.upper(), path, operation, document)
    return found


def _of_operation(method: str, path: str, operation: Json, document: Json) -> Iterator[Target]:
    content = operation.get("requestBody", {}).get("content", {}).get("application/json")
    schema = _resolved(content["schema"], document) if content else None
    body = _smallest(schema, document) if schema else None
    for parameter in operation.get("parameters", ()):
        if parameter["in"] in {"path", "query"} and _takes_text(parameter["schema"], document):
            yield Target(method, path, parameter["in"], (parameter["name"],), body)
    if schema is None or body is None:
        return
    if "config" in schema.get("properties", {}):
        body = {**body, "config": {}}
    for key, inner in schema.get("properties", {}).items():
        if _takes_text(inner, document):
            sent = {name: value for name, value in body.items() if name != "config"} if key in {"config_path", "preset"} else body
            yield Target(method, path, "body", (key,), sent)
    if path in STARTS:
        yield from (Target(method, path, "config", keys, {"config": {}}) for keys in CONFIG_KEYS)


def _smallest(schema: Json, document: Json) -> dict[str, Any]:
    """An object with what it must have."""
    values: dict[str, Any] = {"string": "x", "integer": 1, "number": 1, "boolean": False, "array": [], "object": {}}
    properties = schema.get("properties", {})
    return {key: values.get(_resolved(properties[key], document).get("type", "string")) for key in schema.get("required", ())}


def _takes_text(schema: Json, document: Json) -> bool:
    schema = _resolved(schema, document)
    alternatives = [schema, *schema.get("anyOf", ()), *schema.get("oneOf", ())]
    return any(_resolved(one, document).get("type") == "string" and "enum" not in one for one in alternatives)


def _resolved(schema: Json, document: Json) -> Json:
    while "$ref" in schema:
        schema = document["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
    return schema


def _with(value: Any, keys: tuple[str | int, ...], text: str) -> Any:
    """*value* with *text* at *keys*; what is missing on the way is made."""
    if not keys:
        return text
    key, *rest = keys
    if isinstance(key, int):
        items = value if isinstance(value, list) and value else [{}]
        return [_with(items[0], tuple(rest), text), *items[1:]]
    inner = value if isinstance(value, dict) else {}
    return {**inner, key: _with(inner.get(key), tuple(rest), text)}


def _escaped(text: str) -> str:
    """For a URL; half of the hostile ones are encoded already, and get a second layer only where a character must have it."""
    return quote(text.encode("utf-8", "surrogatepass"), safe="%" if "%" in text else "")


def _filled(part: str) -> str:
    return "000001-0000" if part == "{run_id}" else "x" if part.startswith("{") else part
