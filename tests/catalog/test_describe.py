"""The catalog's process, really started as the daemon starts it: in the checkout, from the packed archive."""

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from tests.contract.driver import ROOT, pack

STANDIN = ROOT / "tests" / "standin"


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return pack(tmp_path_factory.mktemp("pyz"))


def ask(archive: Path, home: Path, backend: str = "onetrainer", what: str = "describe", questions: str = "") -> list[dict[str, Any]]:
    command = [sys.executable, str(archive), "catalog", backend, what]
    done = subprocess.run(command, cwd=home, capture_output=True, text=True, input=questions, timeout=60, check=False)
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_a_checkout_is_described_as_a_schema_with_types_defaults_and_nesting(archive: Path) -> None:
    [catalog] = ask(archive, STANDIN)
    schema = catalog["schema"]
    Draft202012Validator.check_schema(schema)
    train = schema["$defs"]["TrainConfig"]["properties"]
    assert train["epochs"] == {"type": "integer", "default": 100}
    assert train["clip_grad_norm"] == {"type": ["number", "null"], "default": 1.0}
    assert train["training_method"] == {"$ref": "#/$defs/TrainingMethod", "default": "FINE_TUNE"}
    assert schema["$defs"]["TrainingMethod"] == {"type": "string", "enum": ["FINE_TUNE", "LORA"]}
    assert train["concepts"] == {"type": ["array", "null"], "items": {"$ref": "#/$defs/ConceptConfig"}, "default": None}
    assert {"TrainConfig", "ConceptConfig", "SampleConfig", "SecretsConfig"} <= schema["$defs"].keys()
    assert catalog["config_version"] == 11


def test_a_checkout_that_lacks_a_thing_is_described_without_it_and_says_so(archive: Path) -> None:
    [catalog] = ask(archive, STANDIN)
    assert (catalog["model_types"], catalog["optimizers"]) == ([], {})
    assert len(catalog["missing"]) == 2


def test_what_is_no_checkout_is_an_error_in_a_line(archive: Path, tmp_path: Path) -> None:
    [answer] = ask(archive, tmp_path)
    assert "is not a OneTrainer checkout" in answer["error"]


def test_a_checkout_that_does_not_import_is_an_error_in_a_line(archive: Path, tmp_path: Path) -> None:
    home = Path(shutil.copytree(STANDIN, tmp_path / "home"))
    (home / "modules/util/config/SampleConfig.py").write_text("import no_such_module_at_all\n")
    [answer] = ask(archive, home)
    assert "no_such_module_at_all" in answer["error"]
    (home / "modules/util/config/SampleConfig.py").write_text("1 / 0\n")
    [answer] = ask(archive, home, what="worker")
    assert "ZeroDivisionError" in answer["error"]


def test_what_a_checkout_prints_is_no_part_of_the_answer(archive: Path, tmp_path: Path) -> None:
    home = Path(shutil.copytree(STANDIN, tmp_path / "home"))
    with (home / "modules/util/config/SampleConfig.py").open("a") as file:
        file.write('\nprint("hello")\nimport os\nos.write(1, b"hello\\n")\n')
    assert len(ask(archive, home)) == 1


def test_model_types_are_asked_by_their_own_methods_or_by_what_the_window_offers(archive: Path, tmp_path: Path) -> None:
    home = Path(shutil.copytree(STANDIN, tmp_path / "home"))
    enum = (
        "from enum import Enum\n\nclass ModelType(Enum):\n    OLD = 'OLD'\n    ODD = 'ODD'\n"
        "    def is_old(self):\n        return self == ModelType.OLD\n"
    )
    (home / "modules/util/enum/ModelType.py").write_text(enum)
    config = home / "modules/util/config/TrainConfig.py"
    text = config.read_text().replace(
        '("model_type", "STABLE_DIFFUSION_15", str, False)', '("model_type", ModelType.OLD, ModelType, False)'
    )
    config.write_text("from modules.util.enum.ModelType import ModelType\n" + text)
    (home / "modules/ui").mkdir()
    (home / "modules/ui/TopBar.py").write_text(
        "import customtkinter\nclass TopBar:\n    def __create_training_method(self):\n        self.destroy()\n        values = []\n"
        "        if self.train_config.model_type.is_old():\n            values = [('Fine Tune', TrainingMethod.FINE_TUNE)]\n"
        "        self.options(values)\n"
    )
    [catalog] = ask(archive, home)
    old, odd = catalog["model_types"]
    assert old == {"name": "OLD", "traits": ["is_old"], "training_methods": ["FINE_TUNE"]}
    assert "training_methods" not in odd
    methods = (
        "    def supported_training_methods(self):\n        return list(TrainingMethod)\n"
        "    def model_parts(self):\n        return ('unet', 'vae')\n"
        "    def supported_output_formats(self, method):\n        return [ModelFormat.SAFETENSORS] if self.is_old() else 1 / 0\n"
    )
    imports = "from modules.util.enum.ModelFormat import ModelFormat\nfrom modules.util.enum.TrainingMethod import TrainingMethod\n"
    (home / "modules/util/enum/ModelType.py").write_text(imports + enum + methods)
    [catalog] = ask(archive, home)
    old, odd = catalog["model_types"]
    assert (old["training_methods"], old["parts"]) == (["FINE_TUNE", "LORA"], ["unet", "vae"])
    assert old["output_formats"] == {"FINE_TUNE": ["SAFETENSORS"], "LORA": ["SAFETENSORS"]}
    assert "output_formats" not in odd


def test_optimizers_are_read_from_their_table_without_importing_its_file(archive: Path, tmp_path: Path) -> None:
    home = Path(shutil.copytree(STANDIN, tmp_path / "home"))
    (home / "modules/util/enum/Optimizer.py").write_text("from enum import Enum\n\nclass Optimizer(Enum):\n    ADAMW = 'ADAMW'\n")
    (home / "modules/util/optimizer_util.py").write_text(
        "import no_such_module\nOPTIMIZER_DEFAULT_PARAMETERS = {Optimizer.ADAMW: {'eps': 1e-8, 'growth_rate': float('inf'), 'd': -0.8}}\n"
    )
    [catalog] = ask(archive, home)
    assert catalog["optimizers"] == {"ADAMW": {"eps": 1e-8, "growth_rate": "inf", "d": -0.8}}


def test_the_worker_tells_what_landed_and_what_the_config_became(archive: Path) -> None:
    config = {"epochs": "two", "learning_rat": 1, "unet": {"model_name": None}, "concepts": [{"path": "p", "seed": "x"}], "tensorboard": 1}
    questions = [config, {"epochs": 3, "__version": 11}, {"__version": 12}, {"__version": 0}]
    ready, first, second, third, fourth = ask(
        archive, STANDIN, what="worker", questions="".join(json.dumps(one) + "\n" for one in questions)
    )
    assert ready == {"ready": True}
    assert [tuple(item["path"]) for item in first["refused"]] == [
        ("epochs",), ("unet", "model_name"), ("concepts", 0, "seed"), ("tensorboard",),
    ]  # fmt: skip
    assert first["unknown"] == [["learning_rat"]]
    assert (second["refused"], second["config"]["epochs"], second["config"]["batch_size"]) == ([], 3, 1)
    assert "__version 12 is unknown" in third["refused"][0]["message"]
    assert "KeyError: 'weight_dtype'" in fourth["refused"][0]["message"]


def test_the_builtin_trainer_describes_itself_in_the_same_form(archive: Path, tmp_path: Path) -> None:
    [catalog] = ask(archive, tmp_path, "builtin")
    [other] = ask(archive, STANDIN)
    assert catalog.keys() == other.keys()
    assert catalog["optimizers"]["SGD"].keys() == {"weight_decay", "momentum"}
    assert catalog == json.loads((ROOT / "configs" / "builtin.catalog.json").read_bytes()), "make schema writes it"
    ready, answer, good = ask(archive, tmp_path, "builtin", "worker", '{"epochs": "x", "samples": [{"seed": "y"}]}\n{"epochs": 3}\n')
    assert [item["path"] for item in answer["refused"]] == [["epochs"], ["samples", 0, "seed"]]
    assert (ready["ready"], good["config"]["epochs"]) == (True, 3)
