"""The catalog's process: `catalog BACKEND describe` prints one JSON line and ends; `… worker` answers questions until its input ends.

What OneTrainer and torch print goes to stderr: descriptor 1 is the answer's alone.
"""

import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from trainer_runner.trainer.backend import ConfigError


def main(arguments: Sequence[str]) -> int:
    """Exit code 1: the last line is `{"error": "…"}`."""
    backend, what = arguments
    out = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    _die_first()
    try:
        if what == "worker":
            return _work(backend, out)
        answer = describe(backend)
    except ConfigError as error:
        answer = {"error": str(error)}
    except Exception as error:  # noqa: BLE001 - the outer edge of the process: foreign code, described in one line
        answer = {"error": f"{type(error).__name__}: {error}"[:2000]}
    out.write(json.dumps(answer, allow_nan=False) + "\n")
    out.close()
    return 1 if "error" in answer else 0


def _die_first() -> None:
    """Where memory runs out, a question goes before a training does. The daemon that asks may be protected, and we with it."""
    try:
        Path("/proc/self/oom_score_adj").write_text("500", encoding="ascii")
    except OSError:
        pass  # a kernel that does not let us


def describe(backend: str) -> "dict[str, Any]":
    """catalog.json of *backend*; of OneTrainer, that in the working directory."""
    if backend == "builtin":
        from trainer_runner.catalog.builtin import describe_builtin  # noqa: PLC0415 - one backend's half alone

        return describe_builtin()
    from trainer_runner.catalog.describe import describe_onetrainer  # noqa: PLC0415 - and the other's

    return describe_onetrainer(Path.cwd())


def _work(backend: str, out: Any) -> int:
    from trainer_runner.catalog.worker import work  # noqa: PLC0415 - describing needs none of it

    return work(backend, sys.stdin.buffer, out)
