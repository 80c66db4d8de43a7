"""The bell that readers of histories wait by. It carries no data: whoever is woken reads on from its own place."""

import asyncio


class Bell:
    """Rung when any history has grown. A reader takes `turn` before it reads, and waits for it after: nothing rung between is missed."""

    def __init__(self) -> None:
        self._next = asyncio.Event()

    @property
    def turn(self) -> asyncio.Event:
        """The event that the next `ring` will set."""
        return self._next

    def ring(self) -> None:
        rung, self._next = self._next, asyncio.Event()
        rung.set()
