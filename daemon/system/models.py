"""The models that can be trained: the built-in one, and OneTrainer's, read from its source without running a line of it."""

import ast
import logging
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

log = logging.getLogger(__name__)

BUILTIN_MODEL_TYPE: Final = "BUILTIN"
"""What the built-in trainer's config has as its `model_type` by default."""

KNOWN_MODEL_TYPES: Final = (
    "STABLE_DIFFUSION_15", "STABLE_DIFFUSION_15_INPAINTING", "STABLE_DIFFUSION_20", "STABLE_DIFFUSION_20_BASE",
    "STABLE_DIFFUSION_20_INPAINTING", "STABLE_DIFFUSION_20_DEPTH", "STABLE_DIFFUSION_21", "STABLE_DIFFUSION_21_BASE",
    "STABLE_DIFFUSION_3", "STABLE_DIFFUSION_35", "STABLE_DIFFUSION_XL_10_BASE", "STABLE_DIFFUSION_XL_10_BASE_INPAINTING",
    "WUERSTCHEN_2", "STABLE_CASCADE_1", "PIXART_ALPHA", "PIXART_SIGMA", "FLUX_DEV_1", "FLUX_FILL_DEV_1", "FLUX_2", "SANA",
    "HUNYUAN_VIDEO", "HI_DREAM_FULL", "CHROMA_1", "QWEN", "ANIMA", "KREA_2", "Z_IMAGE", "ERNIE", "IDEOGRAM_4",
)  # fmt: skip
"""OneTrainer's ModelType at commit 23df3832 (August 2026), for a machine without a checkout."""

_ENUM_FILE: Final = Path("modules/util/enum/ModelType.py")
_MAX_SOURCE_BYTES: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class ModelEntry:
    """One model type in the words of the API. *type* is what a config has as `model_type`; *path* is None: types have no file."""

    name: str
    type: str
    path: str | None
    source: str
    """`builtin` or `onetrainer`."""
    description: str | None

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def list_models(onetrainer_home: Path | None) -> list[ModelEntry]:
    """The built-in model, then every member of OneTrainer's ModelType, in its order.

    They are read from the checkout at *onetrainer_home*; without one, or when its file is not what we know, those of August 2026.
    """
    builtin = ModelEntry(
        "Built-in U-Net", BUILTIN_MODEL_TYPE, None, "builtin", "A small diffusion U-Net for 16x16 images, trained without OneTrainer"
    )
    if onetrainer_home is not None and (members := _read_members(onetrainer_home / _ENUM_FILE)):
        return [builtin, *(ModelEntry(name, value, None, "onetrainer", None) for name, value in members)]
    needs = "Needs a checkout of OneTrainer: set ONETRAINER_HOME"
    return [builtin, *(ModelEntry(name, name, None, "onetrainer", needs) for name in KNOWN_MODEL_TYPES)]


def _read_members(source: Path) -> list[tuple[str, str]]:
    """Names and values of the ModelType enum in *source*; none when it cannot be read or has no such class."""
    try:
        with source.open("rb") as file:
            tree = ast.parse(file.read(_MAX_SOURCE_BYTES))
    except (OSError, SyntaxError, ValueError, RecursionError, MemoryError) as error:
        log.warning("%s cannot be read for OneTrainer's model types, a built-in list is shown: %s", source, error)
        return []
    return [
        (target.id, statement.value.value)
        for definition in tree.body
        if isinstance(definition, ast.ClassDef) and definition.name == "ModelType"
        for statement in definition.body
        if isinstance(statement, ast.Assign) and isinstance(statement.value, ast.Constant) and isinstance(statement.value.value, str)
        for target in statement.targets
        if isinstance(target, ast.Name) and not target.id.startswith("_")
    ]
