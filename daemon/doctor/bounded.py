"""Run checks each in a process of its own, all at once, none beyond its time: a disk or driver that hangs takes its check along, not us.

A thread would not do: a process with a thread in uninterruptible sleep cannot end. What is left behind is killed and not waited for.
"""

import contextlib
import json
import os
import select
import signal
import time
from collections.abc import Mapping
from typing import NamedTuple

from daemon.doctor.findings import Case, Check, Finding, fail

_ANSWER_BYTES = 1 << 20


class Examination(NamedTuple):
    """A check, and how long it may take."""

    check: Check
    deadline_s: float


class _Child(NamedTuple):
    pid: int
    pipe: int
    deadline: float


def run_all(examinations: Mapping[str, Examination], case: Case) -> list[Finding]:
    """The findings of all *examinations*, in their order. One that hangs, raises or dies is a finding by itself."""
    began = time.monotonic()
    children = {name: _start(one, case, began + one.deadline_s) for name, one in examinations.items()}
    answers = _read_all(children)
    findings: list[Finding] = []
    for name, one in examinations.items():
        findings += _findings(name, answers[name], one.deadline_s)
    return findings


def _start(examination: Examination, case: Case, deadline: float) -> _Child:
    reading, writing = os.pipe()
    pid = os.fork()  # before any thread is there: the command line has none
    if pid:
        os.close(writing)
        return _Child(pid, reading, deadline)
    try:
        # A pager that reads from us must not wait for a child that hangs.
        nothing = os.open(os.devnull, os.O_RDWR)
        for fd in (0, 1, 2):
            os.dup2(nothing, fd)
        os.setsid()
        answer = [finding.to_json() for finding in examination.check(case)]
        os.write(writing, json.dumps(answer).encode())
    except BaseException as error:  # noqa: BLE001 - the outer edge of a process: whatever it is, it is what we found
        with contextlib.suppress(OSError):
            os.write(writing, json.dumps(f"{type(error).__name__}: {error}").encode())
    os._exit(0)


def _read_all(children: Mapping[str, _Child]) -> dict[str, bytes | None]:
    """What each has written; None for one that was killed at its deadline."""
    answers: dict[str, bytes | None] = dict.fromkeys(children, b"")
    open_pipes = {child.pipe: name for name, child in children.items()}
    while open_pipes:
        now = time.monotonic()
        for name in [name for name in open_pipes.values() if children[name].deadline <= now]:
            answers[name] = None
            _drop(children[name], open_pipes)
        next_deadline = min((children[name].deadline for name in open_pipes.values()), default=now)
        for pipe in select.select(list(open_pipes), [], [], max(0.0, next_deadline - now))[0] if open_pipes else []:
            name = open_pipes[pipe]
            data = os.read(pipe, _ANSWER_BYTES)
            if data:
                answers[name] = (answers[name] or b"") + data
            else:
                _drop(children[name], open_pipes)
    return answers


def _drop(child: _Child, open_pipes: dict[int, str]) -> None:
    del open_pipes[child.pipe]
    os.close(child.pipe)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child.pid, signal.SIGKILL)
    with contextlib.suppress(ChildProcessError):
        os.waitpid(child.pid, os.WNOHANG)


def _findings(name: str, answer: bytes | None, deadline_s: float) -> list[Finding]:
    if answer is None:
        return [fail(name, f"no answer within {deadline_s:g} s", "a disk, a network file system or a driver hangs; see dmesg")]
    try:
        found = json.loads(answer)
    except ValueError:
        return [fail(name, "the check died", "look into dmesg, and report it if it happens again")]
    if isinstance(found, str):
        return [fail(name, f"cannot be looked at: {found}", "see to that, or report it where the message is no help")]
    return [Finding.from_json(one) for one in found]
