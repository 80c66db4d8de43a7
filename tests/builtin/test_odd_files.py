"""What lies in a concept folder beside images: nothing of it holds the training up."""

import os
from pathlib import Path

import pytest

from trainer_runner.backends.builtin.config import ConceptConfig

pytestmark = pytest.mark.torch


def test_pipes_and_devices_with_an_images_name_are_passed_over(tmp_path: Path) -> None:
    from trainer_runner.backends.builtin.concepts import _image_files, _read_caption  # noqa: PLC0415 - imports torch

    os.mkfifo(tmp_path / "pipe.png")
    (tmp_path / "device.png").symlink_to("/dev/zero")
    (tmp_path / "folder.png").mkdir()
    (tmp_path / "image.png").write_bytes(b"not looked into here")
    os.mkfifo(tmp_path / "image.txt")
    assert _image_files(ConceptConfig(path=str(tmp_path)), 0) == [tmp_path / "image.png"]
    assert _read_caption(tmp_path / "image.png") == ""
