"""What a check finds: one line each."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from pathlib import Path

from daemon.settings.model import Settings


class Level(StrEnum):
    OK = "ok"
    WARN = "warn"
    FAIL = "fail"


@dataclass(frozen=True, slots=True)
class Finding:
    """*check* is what was looked at; *message* what is so; *advice* what to do, empty where nothing is to be done."""

    level: Level
    check: str
    message: str
    advice: str = ""

    def to_json(self) -> dict[str, str]:
        return asdict(self)

    @classmethod
    def from_json(cls, value: Mapping[str, str]) -> "Finding":
        return cls(Level(value["level"]), value["check"], value["message"], value["advice"])


def ok(check: str, message: str) -> Finding:
    return Finding(Level.OK, check, message)


def warn(check: str, message: str, advice: str) -> Finding:
    return Finding(Level.WARN, check, message, advice)


def fail(check: str, message: str, advice: str) -> Finding:
    return Finding(Level.FAIL, check, message, advice)


@dataclass(frozen=True)
class Case:
    """What is examined: the settings as the daemon would have them, and the surroundings it would start in."""

    settings: Settings
    cwd: Path
    environ: Mapping[str, str] = field(default_factory=dict)


Check = Callable[[Case], Iterable[Finding]]
"""Looks at one thing. May block, hang and raise: `bounded.run_all` sees to that."""


def exit_code(findings: Iterable[Finding]) -> int:
    """0 where nothing fails."""
    return int(any(finding.level is Level.FAIL for finding in findings))


def gib(size: float) -> str:
    """Bytes for people."""
    return f"{size / 2**30:.1f} GiB" if size >= 2**30 else f"{size / 2**20:.0f} MiB"
