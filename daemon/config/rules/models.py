"""The models that a training begins from: each must be a folder, a file, an address, or a name on the Hugging Face hub."""

import re
from collections.abc import Iterator
from typing import Literal

from daemon.config.findings import Finding
from daemon.config.path_keys import Kind, Named
from daemon.config.path_rules import is_hub_name
from daemon.config.rules.view import View, shown
from daemon.config.schema_words import pointer

_FILES = (".safetensors", ".ckpt", ".gguf", ".pt", ".bin")
_OTHERS = ("prior", "transformer", "effnet_encoder", "decoder", "text_encoder_4", "vae")
"""`TrainConfig.model_names`, which has the LoRA to begin from, too."""


def base_model(view: View) -> Iterator[Finding]:
    name = view.text("base_model_name")
    if name is None:
        return
    if not name.strip():
        yield Finding("error", "/base_model_name", "it is empty: give the path of a model, or its name on the Hugging Face hub")
    else:
        yield from _missing(view, name, ("base_model_name",), "error")


def other_models(view: View) -> Iterator[Finding]:
    """Only warned of: a preset may name a file that is still to be fetched (OneTrainer's own for Stable Cascade does)."""
    parts = (view.model() or {}).get("parts", _OTHERS)
    keys = [(part, "model_name") for part in _OTHERS if part in parts] + [("lora_model_name",)]
    for key in keys:
        name = view.text(*key)
        if name and name.strip():
            yield from _missing(view, name, key, "warning")


def _missing(view: View, name: str, place: tuple[str, ...], level: Literal["error", "warning"]) -> Iterator[Finding]:
    if re.match(r"https?://", name):
        return
    path = view.inside(name)
    if path is None or path.exists():
        return  # outside the roots: another rule's, and nothing is told of what lies there
    if not name.endswith(_FILES) and is_hub_name(Named(place, name, Kind.MODEL), view.roots):
        return  # there may be such a model on the hub; nobody is asked
    message = f"{shown(name)} is no folder and no file ({path} does not exist), and no name on the Hugging Face hub"
    yield Finding(level, pointer(place), message)
