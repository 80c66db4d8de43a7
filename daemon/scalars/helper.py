"""The helper process: answers questions with numpy, so that the daemon stays small and its loop free. `helpers.py` starts it.

A question is a line of JSON on stdin. The answer is frames on stdout: four bytes of length, and so many of the body; one of no length
ends it. A frame whose length is all ones is followed by one with the message of an error. It ends when stdin does: the daemon has gone.
"""

import sys
from pathlib import Path
from typing import BinaryIO

import orjson

from daemon.errors import DaemonError
from daemon.scalars import thinning  # noqa: F401 - numpy's import is most of the start, and the start is what the first asker waits for
from daemon.scalars.query import Query, answer

FAILED = 2**32 - 1


def main() -> None:
    out = sys.stdout.buffer
    for line in sys.stdin.buffer:
        path, run_id, query, is_complete = orjson.loads(line)
        try:
            for piece in answer(Path(path), run_id, Query(**query), is_complete):
                _write(out, piece)
        except DaemonError as error:
            out.write(FAILED.to_bytes(4, "big"))
            _write(out, orjson.dumps([error.message, error.code]))
        _write(out, b"")


def _write(out: BinaryIO, piece: bytes) -> None:
    out.write(len(piece).to_bytes(4, "big") + piece)
    out.flush()


if __name__ == "__main__":
    try:
        main()
    except BrokenPipeError:
        sys.stderr.close()  # the daemon has gone in the middle of an answer
