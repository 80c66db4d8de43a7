"""Exceptions that OneTrainer catches and only prints: kept, so that they can be told."""

import sys
import traceback
from typing import Any


class Printed:
    """The first exception that `traceback.print_exc` has printed since the last `take`. Printing stays as it is."""

    def __init__(self) -> None:
        self._first: BaseException | None = None

    def listen(self) -> None:
        """Wrap `traceback.print_exc` in this process: OneTrainer calls it in each `except` that goes on."""
        original = traceback.print_exc

        def print_exc(*args: Any, **kwargs: Any) -> None:
            error = sys.exc_info()[1]
            if error is not None and self._first is None:
                self._first = error
            original(*args, **kwargs)

        traceback.print_exc = print_exc

    def take(self) -> "BaseException | None":
        first, self._first = self._first, None
        return first
