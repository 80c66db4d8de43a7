"""Model types are read from OneTrainer's source, which is never run."""

from pathlib import Path

import pytest

from daemon.system.models import BUILTIN_MODEL_TYPE, KNOWN_MODEL_TYPES, list_models

SOURCE = """
from modules.somewhere import nothing
raise SystemExit("this must not run")
class Other(Enum):
    NO = 'NO'
class ModelType(Enum):
    _private = 'x'
    FLUX_2 = 'FLUX_2'
    NEW_ONE: str = 'annotated, no member that we know'
    RENAMED = 'OLD_NAME'

    def is_flux(self):
        return self == ModelType.FLUX_2
"""


def checkout(folder: Path, source: bytes) -> Path:
    path = folder / "modules" / "util" / "enum" / "ModelType.py"
    path.parent.mkdir(parents=True)
    path.write_bytes(source)
    return folder


def test_the_members_of_a_checkout_follow_the_built_in_model(tmp_path: Path) -> None:
    models = list_models(checkout(tmp_path, SOURCE.encode()))
    assert [(model.name, model.type, model.source) for model in models[1:]] == [
        ("FLUX_2", "FLUX_2", "onetrainer"),
        ("RENAMED", "OLD_NAME", "onetrainer"),
    ]
    assert (models[0].type, models[0].source, models[0].to_json()["path"]) == (BUILTIN_MODEL_TYPE, "builtin", None)


@pytest.mark.parametrize("source", [b"", b"class ModelType(", b"\0", b"\xff\xfe", b"(" * 5000, b"class ModelType: pass"])
def test_an_unreadable_enum_falls_back_on_the_known_types(tmp_path: Path, source: bytes) -> None:
    assert [model.type for model in list_models(checkout(tmp_path, source))] == [BUILTIN_MODEL_TYPE, *KNOWN_MODEL_TYPES]


def test_without_a_checkout_the_known_types_say_what_they_need(tmp_path: Path) -> None:
    for home in (None, tmp_path / "missing"):
        models = list_models(home)
        assert len(models) == 1 + len(KNOWN_MODEL_TYPES)
        assert "ONETRAINER_HOME" in str(models[1].description)
