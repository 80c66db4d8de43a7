"""Why an attempt ended, from the evidence. Pure."""

import signal
from typing import Any, NamedTuple

from ipc import exit_record

_CRASHES = frozenset({signal.SIGSEGV, signal.SIGABRT, signal.SIGBUS, signal.SIGILL, signal.SIGFPE, signal.SIGSYS, signal.SIGTRAP})


class Evidence(NamedTuple):
    """What the runner knows when the trainer is gone.

    *status* is the exit code, or minus the signal; None when it never started (*spawn_error* says why). *error* is the trainer's last
    `error` event that was fatal, *finished* its `trainer.finished`. *signals_sent* names what our stop ladder sent.
    """

    status: "int | None"
    spawn_error: "str | None" = None
    error: "dict[str, Any] | None" = None
    finished: "dict[str, Any] | None" = None
    stop_requested: bool = False
    signals_sent: "tuple[str, ...]" = ()
    oom_kills: int = 0


class Verdict(NamedTuple):
    cause: str
    message: str
    evidence: "dict[str, Any]"


def classify(seen: Evidence) -> Verdict:
    """The cause, a sentence, and what it was read from. The trainer's own word on an error outranks how its process went down."""
    facts: dict[str, Any] = {
        "oom_kills": seen.oom_kills, "signals_sent": list(seen.signals_sent), "stop_requested": seen.stop_requested,
    }  # fmt: skip
    if seen.status is None:
        return Verdict("start_failed", f"the trainer could not be started: {seen.spawn_error}", facts)
    how = _how(seen.status)
    if seen.finished is not None:
        outcome = str(seen.finished.get("outcome"))
        if outcome in exit_record.CAUSES - exit_record.FAILURES:
            if seen.status != 0:
                facts["note"] = f"it had finished its work, then ended by {how}"
            return Verdict(outcome, str(seen.finished.get("message") or outcome), facts)
    if seen.error is not None:
        facts["error"] = {key: seen.error.get(key) for key in ("where", "exception", "message")}
        cause = seen.error.get("cause")
        message = f"{seen.error.get('exception')}: {seen.error.get('message')}"
        return Verdict(cause if cause in exit_record.FAILURES else "exception", message, facts)
    if seen.status < 0:
        return _by_signal(signal.Signals(-seen.status), seen, facts)
    if seen.status == 0:
        return Verdict("unknown", "the trainer exited with code 0, but never said that it had finished", facts)
    return Verdict("unknown", f"the trainer exited with code {seen.status} and said no reason; the end of its console may", facts)


def _by_signal(number: signal.Signals, seen: Evidence, facts: "dict[str, Any]") -> Verdict:
    if number == signal.SIGKILL and seen.oom_kills > 0:
        return Verdict("host_oom", "the kernel killed the trainer because memory ran out (SIGKILL, and the oom_kill counter rose)", facts)
    if number.name in seen.signals_sent:
        facts["by"] = "stop"
        why = "it was told to end at once" if "SIGTERM" not in seen.signals_sent else "it did not end in its grace period"
        return Verdict("killed", f"{why} and was ended by {number.name}; no final model was saved", facts)
    if number in _CRASHES:
        return Verdict("crash", f"the trainer crashed by {number.name}; the end of its console may say where", facts)
    return Verdict("killed", f"the trainer was ended by {number.name}, which onetrainerd did not send", facts)


def _how(status: int) -> str:
    return signal.Signals(-status).name if status < 0 else f"exit code {status}"
