"""The two forms of a line of log: text for people, JSON for programs; both with the priority that journald reads, where it listens."""

import json
import logging
import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

from ipc.run_directory import RUN_ID

_CONTROLS = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")


class Lines(logging.Formatter):
    """What both forms share."""

    def __init__(self, request_id: Callable[[], str | None], *, for_journal: bool) -> None:
        super().__init__()
        self._request_id = request_id
        self._for_journal = for_journal

    def prefixed(self, record: logging.LogRecord, text: str) -> str:
        """*text* with the priority of sd-daemon(3) before each of its lines: journald makes an entry of every line."""
        if not self._for_journal:
            return text
        level = record.levelno
        priority = 2 if level >= 50 else 3 if level >= 40 else 4 if level >= 30 else 6 if level >= 20 else 7
        return "\n".join(f"<{priority}>{line}" for line in text.split("\n"))


class TextLines(Lines):
    """`time LEVEL logger: message [request id]`, then a traceback if there is one. journald has a clock of its own."""

    def format(self, record: logging.LogRecord) -> str:
        when = "" if self._for_journal else f"{self.formatTime(record)} "
        request = f" [request {request_id}]" if (request_id := self._request_id()) else ""
        line = f"{when}{record.levelname} {record.name}: {one_line(record.getMessage())}{request}"
        return self.prefixed(record, "\n".join([line, *self._traceback(record)]))

    def _traceback(self, record: logging.LogRecord) -> list[str]:
        return [self.formatException(record.exc_info)] if record.exc_info and record.exc_info[0] else []


class JsonLines(Lines):
    """One object a line: `time`, `level`, `logger`, `message`, and where there are such `run_id`, `request_id`, `error` (a traceback),
    and the `fields` that a record brings along."""

    def format(self, record: logging.LogRecord) -> str:
        fields: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if run_id := run_of(record):
            fields["run_id"] = run_id
        if request_id := self._request_id():
            fields["request_id"] = request_id
        if record.exc_info and record.exc_info[0]:
            fields["error"] = self.formatException(record.exc_info)
        fields |= getattr(record, "fields", {})
        return self.prefixed(record, json.dumps(fields, default=str))


def run_of(record: logging.LogRecord) -> str | None:
    """The run that *record* is about: the one that its message names. Every message that names a run has its id as an argument."""
    given = record.args.values() if isinstance(record.args, Mapping) else record.args or ()
    return next((value for value in given if isinstance(value, str) and RUN_ID.fullmatch(value)), None)


def one_line(text: str) -> str:
    """*text* with its control characters escaped: what a stranger put into a path must not look like a line of ours."""
    return _CONTROLS.sub(lambda found: f"\\x{ord(found[0]):02x}" if found[0] != "\n" else "\\n", text)
