"""What can go wrong with the files and pipes of a run.

IpcError
├── JournalError       a journal cannot be opened or continued
├── VersionError       a file says a version that this package does not know
├── MalformedError     a file or line is not what the protocol says
├── CommandError       a command cannot be encoded or sent
└── LockHeldError      somebody else holds the lock
"""


class IpcError(Exception):
    """Root of this package's errors."""


class JournalError(IpcError):
    """A journal cannot be opened or continued."""


class VersionError(IpcError):
    """A file says a version that this package does not know."""

    def __init__(self, path: str, found: object, known: int) -> None:
        super().__init__(f"{path}: version {found!r} is unknown here (this program knows {known}); was it written by a newer onetrainerd?")
        self.path = path
        self.found = found


class MalformedError(IpcError):
    """A file or line is not what the protocol says."""


class CommandError(IpcError):
    """A command cannot be encoded or sent."""


class LockHeldError(IpcError):
    """Somebody else holds the lock at *path*."""

    def __init__(self, path: str) -> None:
        super().__init__(f"{path} is locked by another process")
        self.path = path
