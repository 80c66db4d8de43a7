"""Which missing file stands behind a failure to load: OneTrainer's own words for it are obscure ("could not load model: …")."""

import errno
from pathlib import Path
from typing import Any

_KEYS = (
    "base_model_name", "prior.model_name", "transformer.model_name", "effnet_encoder.model_name", "decoder.model_name",
    "text_encoder_4.model_name", "vae.model_name", "lora_model_name",
)  # fmt: skip
_MODEL_FILES = (".safetensors", ".ckpt", ".gguf", ".pt", ".bin")


def model_behind(error: Exception, config: Any) -> "FileNotFoundError | None":
    """The error that names key and value, if one of *config*'s models is a path and nothing is there; to be raised from *error*."""
    for key in _KEYS:
        value = _value(config, key)
        if value and _is_missing(value, offline=bool(getattr(config, "offline_mode", False))):
            return FileNotFoundError(
                errno.ENOENT, f"{key}: there is no such model, so OneTrainer could not load it ({_first_line(error)})", value
            )
    return None


def _value(config: Any, key: str) -> str:
    for part in key.split("."):
        config = getattr(config, part, None)
    return config if isinstance(config, str) else ""


def _is_missing(value: str, *, offline: bool) -> bool:
    """A name of two parts may be a model on the Hugging Face hub; only a path is certainly missing."""
    path = Path(value)
    if path.exists():
        return False
    return (
        path.is_absolute()
        or value.startswith((".", "~"))
        or value.endswith(_MODEL_FILES)
        or len(path.parts) > 2
        or (offline and len(path.parts) == 1)
    )


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0][:200] if lines else 'without a message'}"
