from pathlib import Path

import pytest

from tests.builtin.lab import write_images


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with `images/`, sixteen gray squares with captions."""
    write_images(tmp_path / "images")
    return tmp_path
