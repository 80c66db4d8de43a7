"""What the daemon refuses or cannot do. Errors carry data and a stable code, never an HTTP status, and never log themselves.

DaemonError
├── InvalidError          what was sent is wrong: its form, a value, a config
├── UnauthorizedError     no token, or a wrong one
├── ForbiddenError        a path outside the roots, a foreign Host or Origin
├── NotFoundError         no such run, file, preset, sample
├── ConflictError         right request, wrong moment
├── UnsupportedError      the trainer cannot do this
└── UnavailableError      our own side fails: a runner that does not start or answer, a full disk
"""

from collections.abc import Mapping
from typing import Any, ClassVar


class DaemonError(Exception):
    """Root of the tree. *message* says what went wrong, with the value, and what to do; *details* is JSON for programs."""

    default_code: ClassVar[str] = "error"

    def __init__(self, message: str, *, code: str | None = None, **details: Any) -> None:
        super().__init__(message)
        self.message = message
        self.code = code or self.default_code
        self.details: Mapping[str, Any] = details


class InvalidError(DaemonError):
    """What was sent is wrong."""

    default_code = "invalid"


class UnauthorizedError(DaemonError):
    """No token, or a wrong one."""

    default_code = "unauthorized"


class ForbiddenError(DaemonError):
    """Understood, and not allowed."""

    default_code = "forbidden"


class NotFoundError(DaemonError):
    """There is no such thing."""

    default_code = "not_found"


class ConflictError(DaemonError):
    """The right request at the wrong moment."""

    default_code = "conflict"


class UnsupportedError(DaemonError):
    """The trainer cannot do this."""

    default_code = "unsupported"


class UnavailableError(DaemonError):
    """Our own side fails."""

    default_code = "unavailable"
