"""Concepts and samples are taken out of their files when a run is asked for."""

import json
from pathlib import Path

import pytest

from daemon.config.inlining import inline_lists
from daemon.errors import ForbiddenError, InvalidError
from daemon.paths import Roots


def test_lists_named_by_file_or_in_the_default_place_come_inline(tmp_path: Path) -> None:
    (tmp_path / "mine.json").write_text(json.dumps([{"path": "a"}]))
    (tmp_path / "training_samples").mkdir()
    (tmp_path / "training_samples" / "samples.json").write_text(json.dumps([{"prompt": "b"}]))
    found = inline_lists({"concept_file_name": "mine.json", "epochs": 3}, Roots([tmp_path], tmp_path))
    assert found == {"concept_file_name": "mine.json", "epochs": 3, "concepts": [{"path": "a"}], "samples": [{"prompt": "b"}]}


def test_lists_that_are_there_and_files_that_are_not_change_nothing(tmp_path: Path) -> None:
    config = {"concepts": [], "concept_file_name": "none.json", "sample_definition_file_name": 5}
    assert inline_lists(config, Roots([tmp_path], tmp_path)) == config


def test_a_file_outside_or_without_a_list_is_refused(tmp_path: Path) -> None:
    (tmp_path / "object.json").write_text("{}")
    roots = Roots([tmp_path], tmp_path)
    with pytest.raises(InvalidError, match="a JSON list"):
        inline_lists({"concept_file_name": "object.json"}, roots)
    with pytest.raises(ForbiddenError):
        inline_lists({"concept_file_name": "/etc/passwd"}, roots)
