"""The helper process: fills stores that are far behind, and answers questions with numpy, so that the daemon stays small and its loop
free. `helpers.py` starts it.

A question is a line of JSON on stdin: `["answer", path, run_id, query, is_complete]`, or `["fill", run directory, seconds]`, of which the
answer is true or false. The answer is frames on stdout: four bytes of length, and so many of the body; one of no length
ends it. A frame whose length is all ones is followed by one with the message of an error. It ends when stdin does: the daemon has gone.
"""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

import orjson

from daemon.errors import DaemonError, UnavailableError
from daemon.scalars import thinning  # noqa: F401 - numpy's import is most of the start, and the start is what the first asker waits for
from daemon.scalars.filling import Filler
from daemon.scalars.helpers import FAILED, UNFILLED
from daemon.scalars.query import Query, answer
from ipc.run_directory import RunDirectory


def main() -> None:
    out = sys.stdout.buffer
    for line in sys.stdin.buffer:
        try:
            for piece in _pieces(orjson.loads(line)):
                _write(out, piece)
        except DaemonError as error:
            out.write(FAILED.to_bytes(4, "big"))
            _write(out, orjson.dumps([error.message, error.code]))
        _write(out, b"")


def _pieces(question: list[Any]) -> Iterator[bytes]:
    match question:
        case ["answer", path, run_id, query, is_complete]:
            yield from answer(Path(path), run_id, Query(**query), is_complete)
        case ["fill", path, budget_s]:
            filler = Filler(RunDirectory(Path(path)))
            try:
                yield orjson.dumps(filler.fill(budget_s))
            except OSError as error:
                raise UnavailableError(str(error), code=UNFILLED) from error
            finally:
                filler.close()


def _write(out: BinaryIO, piece: bytes) -> None:
    out.write(len(piece).to_bytes(4, "big") + piece)
    out.flush()


if __name__ == "__main__":
    try:
        main()
    except BrokenPipeError:
        sys.stderr.close()  # the daemon has gone in the middle of an answer
