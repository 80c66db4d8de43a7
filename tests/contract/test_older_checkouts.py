"""Older commits of the real OneTrainer: less is described, nothing fails, and both depths agree on the presets of that time."""

import io
import subprocess
import tarfile
from pathlib import Path

import pytest

from tests.contract.test_validation_agrees import INVALID, VALID, Trainer, compare, shipped

PARTS = "model types: this OneTrainer does not tell their parts"
FORMATS = "model types: this OneTrainer does not tell their output formats"
NO_SECRETS = "schema: this OneTrainer has no SecretsConfig"


@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    ("commit", "version", "missing"),
    [
        ("b34bdc7e", 4, [NO_SECRETS, PARTS, FORMATS]),  # August 2024
        ("daae18ea", 6, [PARTS, FORMATS]),  # July 2025
        ("150046e2", 10, [PARTS, FORMATS]),  # February 2026
    ],
)
def test_an_older_checkout_is_described_as_far_as_it_tells(
    real_home: tuple[Path, str], pyz: Path, tmp_path: Path, commit: str, version: int, missing: list[str]
) -> None:
    packed = subprocess.run(
        ["git", "-C", str(real_home[0]), "archive", commit, "modules", "training_presets"], capture_output=True, check=False
    )  # fmt: skip
    if packed.returncode:
        pytest.skip(f"the checkout has no commit {commit}: it is a shallow clone")
    with tarfile.open(fileobj=io.BytesIO(packed.stdout)) as archive:
        archive.extractall(tmp_path, filter="data")
    trainer = Trainer(tmp_path, real_home[1], pyz)
    try:
        described = trainer.described
        assert (described.config_version, list(described.missing)) == (version, missing)
        assert all(model["training_methods"] for model in described.model_types if model["name"] == "STABLE_DIFFUSION_XL_10_BASE")
        assert described.optimizers["ADAMW"]["beta1"] == 0.9
        outcomes = {
            f"{case.name}: {outcome}"
            for case in shipped(tmp_path)
            if (outcome := compare(case.config, trainer.fast(case.config), trainer.deep(case.config), described)) not in (VALID, INVALID)
        }
        assert outcomes == set()
    finally:
        trainer.close()
