"""What one may ask of a sample: only what every trainer takes."""

from typing import Any

import pytest

from daemon.api import binding
from daemon.api.models.samples import SampleGenerateRequest
from daemon.errors import InvalidError


@pytest.mark.parametrize("fields", [{}, {"cfg_scale": 0.0}, {"cfg_scale": 100}, {"negative_prompt": "line\nline", "seed": -1}])
def test_what_trainers_take_passes(fields: dict[str, Any]) -> None:
    given = {"prompt": "a square", **fields}
    assert binding.body(SampleGenerateRequest, given).model_dump(include=set(given)) == given


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"cfg_scale": -0.1}, "cfg_scale"),
        ({"cfg_scale": 100.1}, "cfg_scale"),
        ({"prompt": "a\0b"}, "prompt: must not hold a NUL"),
        ({"negative_prompt": "\0"}, "negative_prompt: must not hold a NUL"),
        ({"prompt": "x" * 10_001}, "prompt"),
    ],
)
def test_what_they_refuse_is_refused_here(fields: dict[str, Any], told: str) -> None:
    with pytest.raises(InvalidError, match=told):
        binding.body(SampleGenerateRequest, {"prompt": "a square", **fields})
