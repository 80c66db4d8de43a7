"""Standard output, which scripts read: closed, full or a pipe that nobody reads any more, it is told in one line."""

import os
import sys
from pathlib import Path

from daemon.errors import UnavailableError


def tell(text: str) -> None:
    """Print *text* as a line, at once. Raises UnavailableError (code `stdout`) when it did not get out."""
    if sys.stdout is None:
        raise UnavailableError("standard output is closed, so that nobody would read what is asked for", code="stdout")
    try:
        sys.stdout.write(f"{text}\n")
        sys.stdout.flush()
    except OSError as error:
        _give_up()
        raise UnavailableError(f"standard output cannot be written: {error.strerror}", code="stdout") from error


def hold_descriptors() -> None:
    """Open /dev/null where 0, 1 or 2 is closed: else the next file that is opened becomes what a child takes for its output."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)  # open(2) takes the lowest number that is free
    if sys.stderr is None:
        sys.stderr = Path(os.devnull).open("w")  # noqa: SIM115 - for the life of the process


def _give_up() -> None:
    """What is still buffered is thrown away: Python would try again at its end, and say so with a traceback."""
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 1)
    os.close(null)
