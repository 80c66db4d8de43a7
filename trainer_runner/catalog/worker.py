"""Answers questions about configs, one JSON object a line, until its input ends: importing OneTrainer's configs takes seconds, once."""

import json
from typing import IO, Any

from trainer_runner.catalog.deep import open_check
from trainer_runner.trainer.backend import ConfigError


def work(backend: str, questions: "IO[bytes]", out: "IO[str]") -> int:
    """The first line is `{"ready": true}`, or `{"error": "…"}` and the exit code 1."""
    try:
        check = open_check(backend)
    except Exception as error:  # noqa: BLE001 - foreign code at the outer edge of the process: told in one line
        _say(out, {"error": str(error) if isinstance(error, ConfigError) else f"{type(error).__name__}: {error}"[:2000]})
        return 1
    _say(out, {"ready": True})
    for line in questions:
        try:
            answer = check(json.loads(line))
        except Exception as error:  # noqa: BLE001 - one config must not end the worker
            answer = {"error": f"{type(error).__name__}: {error}"[:2000]}
        _say(out, answer)
    return 0


def _say(out: "IO[str]", value: "dict[str, Any]") -> None:
    out.write(json.dumps(value) + "\n")
    out.flush()
