"""The ear of a training: what comes on the reader thread waits here until the training thread has time between two steps."""

from collections.abc import Iterator
from queue import Empty, SimpleQueue

from ipc.messages import Command


class Commands:
    """Satisfies `CommandSink`. Its attributes are set by the reader thread and only read by the training thread."""

    def __init__(self) -> None:
        self._waiting: SimpleQueue[Command] = SimpleQueue()
        self._releases: SimpleQueue[Command] = SimpleQueue()
        self.is_stopping = False
        self.is_orphaned = False
        self.is_backup_wanted = False

    # On the reader thread.

    def stop(self, backup: bool) -> None:
        self.is_backup_wanted = self.is_backup_wanted or backup
        self.is_stopping = True

    def request(self, command: Command) -> None:
        self._waiting.put(command)

    def release(self, command: Command) -> None:
        self._releases.put(command)

    def orphaned(self) -> None:
        self.is_orphaned = True
        self.stop(backup=True)

    # On the training thread.

    def is_ending(self) -> bool:
        """Whether the training is to end, by whichever way."""
        return self.is_stopping or not self._releases.empty()

    def waiting(self) -> "Iterator[Command]":
        """The commands to carry out now, in the order in which they came."""
        yield from _drained(self._waiting)

    def releases(self) -> "list[Command]":
        return list(_drained(self._releases))


def _drained(queue: "SimpleQueue[Command]") -> "Iterator[Command]":
    while True:
        try:
            yield queue.get_nowait()
        except Empty:
            return
