"""One run, live: its history taken in as it grows, its commands sent, the end of its processes noticed. One task owns it."""

import asyncio
import contextlib
import logging
import shutil
import signal
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from daemon.errors import ConflictError, DaemonError, UnavailableError
from daemon.runs.fold import Record
from daemon.runs.policies import LOST
from daemon.runs.states import ENDED, LIVE, RunState
from daemon.runs.view import RunView
from daemon.supervisor.adoption import Condition, Finding, examine, give_up_start, identities
from daemon.supervisor.commands import CommandDesk
from daemon.supervisor.history import Entry, History
from daemon.supervisor.hub import Bell
from daemon.supervisor.launcher import Launcher
from daemon.supervisor.orphans import orphan_report
from daemon.supervisor.sightings import Sightings
from daemon.supervisor.store import StoredRun
from daemon.supervisor.watch import wait_gone, wakes
from ipc.atomic import replace_json
from ipc.errors import IpcError
from ipc.process import ProcessIdentity
from ipc.run_directory import AttemptDirectory, RunDirectory

_LOG = logging.getLogger(__name__)
_LOOK_S = 5.0
_BATCH = 512


class LiveRun:
    """A run, and while it lives its processes.

    First `catch_up`: before it, the run is as its last checkpoint says, which may be long ago. Then `reserve` and `launch`, or `adopt`,
    and `hold` until the attempt is over.
    """

    def __init__(self, stored: StoredRun, bell: Bell, sightings: Sightings) -> None:
        self.stored = stored
        self.history = History(stored.directory, stored.backend)
        self._bell = bell
        self._sightings = sightings
        self._woken = asyncio.Event()
        self._let_go = asyncio.Event()
        self._let_go.set()
        self._desk: CommandDesk | None = None
        self._launched = asyncio.Event()
        self._launched.set()
        self._known = asyncio.Event()
        self.orphan: ProcessIdentity | None = None
        self.is_settled = False

    async def catch_up(self) -> None:
        """Take in all that its journals hold, however much that is, and let others work in between."""
        while self.history.catch_up():  # noqa: ASYNC110 - this is work in portions, not a wait
            await asyncio.sleep(0)
        self._tell_damage()
        if self.view.created == 0.0:
            self._give_up_on_history()
        elif self.view.state in ENDED - {RunState.LOST}:
            self._rest()

    @property
    def run_id(self) -> str:
        return self.directory.run_id

    @property
    def directory(self) -> RunDirectory:
        return self.stored.directory

    @property
    def view(self) -> RunView:
        return self.history.view

    @property
    def occupies_a_place(self) -> bool:
        """Whether another run must wait for this one: it lives, or is about to live again, or the trainer of its dead runner does."""
        awaits_orphan = self.view.state is RunState.LOST and not self.view.orphan_gone and not self.is_settled
        return self.view.has_place or self.orphan is not None or awaits_orphan

    @property
    def _attempt(self) -> AttemptDirectory:
        return self.directory.attempt(self.view.attempt)

    # Beginning.

    def reserve(self, continue_from: str | None) -> None:
        """Take the place: the next attempt is `starting`, on disk and for everybody who asks, before anything runs.

        Raises:
            UnavailableError: it could not be put on disk; the run is as it was.
        """
        try:
            self.history.append("run.starting", {"attempt": self.view.attempt + 1, "continue_from": continue_from})
        except (OSError, IpcError) as error:
            raise UnavailableError(f"the start could not be recorded: {error}", code="disk") from error
        self._launched.clear()
        self.take_in()

    async def launch(self, launcher: Launcher, launch: Callable[[AttemptDirectory, str | None], Record]) -> None:
        """Start the runner of the reserved attempt; *launch* makes its launch.json.

        Raises:
            DaemonError: no runner came up; the run has failed, and its history says why.
        """
        attempt = self._attempt
        try:
            self.stored.note_launcher(launcher.name)
            attempt.create()
            replace_json(attempt.launch, launch(attempt, self.view.continued_from), mode=0o600)
            await launcher.launch(attempt)
        except (OSError, DaemonError) as error:
            if give_up_start(attempt):
                self.record("run.start_failed", {"attempt": attempt.number, "message": str(error)})
                self._rest()
                if isinstance(error, DaemonError):
                    raise
                raise UnavailableError(f"the run could not be started: {error}", code="start_failed") from error
            _LOG.warning("run %s: its runner came late, and is at work: %s", self.run_id, error)
        self._desk = CommandDesk(attempt)
        self._launched.set()
        self.take_in()

    def adopt(self) -> bool:
        """Take over what an earlier daemon left; whether there is something to `hold`. Nothing is signalled or deleted.

        Raises:
            UnavailableError: this is a copy of a run that lives elsewhere (code `copied_run`).
        """
        if self.view.state is RunState.LOST:
            self.orphan = self._examined().trainer
            self._known.set()
            if self.orphan is None and self.view.orphan_gone:
                self._rest()
            return not self.is_settled
        if self.view.state not in LIVE:
            return False
        finding = self._examined()
        if finding.condition is Condition.NEVER_STARTED and not self.history.was_at_work and give_up_start(self._attempt):
            self.record("run.requeued", {"attempt": self.view.attempt, "message": "the daemon ended while it was starting this run"})
            return False
        self._desk = CommandDesk(self._attempt)
        if finding.condition is Condition.RUNNING:
            self._known.set()
            self.record("run.adopted", {"attempt": self.view.attempt})
        return True

    def _examined(self) -> Finding:
        finding = examine(self._attempt)
        if finding.condition is Condition.COPIED:
            raise UnavailableError(
                f"{self.directory.path} is a copy: the trainer that it names works in another folder; remove the copy, or stop that "
                "training where it is",
                code="copied_run",
            )
        return finding

    def _give_up_on_history(self) -> None:
        """Its first record is gone. Whatever it was, it is not a run that nobody has begun: it is never started again."""
        attempts = self.directory.attempts()
        self.orphan = examine(attempts[-1]).trainer if attempts else None
        message = f"its journal in {self.directory.daemon} is damaged: nobody knows how it ended"
        self.history.view = replace(self.view, state=RunState.LOST, cause=LOST, error=message, orphan_gone=self.orphan is None)
        _LOG.error("run %s: %s", self.run_id, message)

    # Holding.

    async def hold(self) -> None:
        """Take in the attempt's events until its runner is gone and its end is on record. Only then may the next attempt begin."""
        self._let_go.clear()
        try:
            await self._watch_runner(self._attempt)
            self._record_end()
            self._known.set()
            await self._see_orphan_off()
            await self._sightings.finish(self)
            if self.view.state in ENDED:
                self.record("run.settled", {"attempt": self.view.attempt, "state": self.view.state, "cause": self.view.cause})
            self._rest()
        finally:
            self._let_go.set()

    @property
    def is_held(self) -> bool:
        """Whether somebody is in `hold`: a runner, or the trainer of a dead one, may live."""
        return not self._let_go.is_set()

    async def wait_known(self) -> None:
        """Return when an adopted run is as it is now: its runner lives, or its end is on record. `hold` must be on its way."""
        await self._known.wait()

    async def wait_let_go(self) -> None:
        """Return when no attempt is held: its state may say `released` some milliseconds before its runner is gone."""
        await self._let_go.wait()

    async def _watch_runner(self, attempt: AttemptDirectory) -> None:
        runner, _ = identities(attempt)
        async with wakes(attempt.wake_pipe, self._woken.set):
            gone = asyncio.create_task(wait_gone(runner, attempt.lock), name=f"runner of {self.run_id}")
            try:
                while not gone.done():
                    await self._take_in_all()
                    woken = asyncio.create_task(self._woken.wait())
                    await asyncio.wait({gone, woken}, timeout=_LOOK_S, return_when=asyncio.FIRST_COMPLETED)
                    woken.cancel()
                    self._woken.clear()
            finally:
                gone.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await gone
        await self._take_in_all()

    async def _take_in_all(self) -> None:
        while self.take_in():  # noqa: ASYNC110 - this is work in portions, not a wait
            await asyncio.sleep(0)  # a long backlog must not hold up the loop

    def take_in(self) -> list[Entry]:
        """Take in what is new in the journals, a batch at most, and tell everybody."""
        entries = self.history.advance(_BATCH)
        for entry in entries:
            kind = entry.record.get("type", "")
            if kind.startswith("command.") and self._desk is not None:
                self._desk.hear(entry.record)
            elif kind in ("sample", "trainer.ready"):
                self._sightings.hear(self, entry.record)
        self._tell_damage()
        if entries:
            self._bell.ring()
        return entries

    def _tell_damage(self) -> None:
        """Put what the reader met broken, and went over, into the history, once."""
        for damage in self.history.take_damage():
            _LOG.error("run %s: its journal is damaged: %s", self.run_id, damage)
            self.record("journal.damaged", {"damage": damage})

    def record(self, kind: str, fields: Record) -> None:
        """Put a record of the daemon's own into the history. A full disk is told in the log: the runner's journal has what matters."""
        try:
            self.history.append(kind, fields)
        except (OSError, IpcError) as error:
            _LOG.error("run %s: %s could not be recorded: %s", self.run_id, kind, error)
            return
        while self.take_in():
            pass

    def _record_end(self) -> None:
        """The runner is gone. If its last event does not say how it ended, its exit record does, or nobody knows."""
        if self.view.state not in LIVE:
            return
        finding = examine(self._attempt)
        if finding.exit is not None:
            self.record("run.ended", {"attempt": self.view.attempt, "exit": finding.exit.to_json()})
            return
        self.orphan = finding.trainer
        self.record("run.lost", {
            "attempt": self.view.attempt, "trainer_alive": finding.trainer is not None,
            "message": "the runner died without an exit record"
            + ("; its trainer still lives, backs up, saves and ends by itself" if finding.trainer else ", and so did its trainer"),
        })  # fmt: skip

    async def _see_orphan_off(self) -> None:
        """The trainer of a dead runner backs up, saves and ends by itself; until then it has its place, and its GPU."""
        if self.view.cause != LOST:
            return
        await wait_gone(self.orphan)
        self.orphan = None
        report = orphan_report(self._attempt)
        if report is None and not self.view.orphan_gone:
            report = {"message": "the runner died; its trainer has ended too and left no word", "last_backup": None, "model_path": None}
        if report is not None:
            self.record("run.orphan_ended", {"attempt": self.view.attempt, **report})

    def _rest(self) -> None:
        """Nothing more will come by itself: give back what an ended run needs no more."""
        if self._desk is not None:
            self._desk.close()
        self._desk = None
        self._launched.set()
        self.is_settled = self.view.state in ENDED
        if self.is_settled:
            shutil.rmtree(self.directory.secrets, ignore_errors=True)
            shutil.rmtree(self.directory.tmp, ignore_errors=True)
        self.history.close()
        self._bell.ring()

    def close(self) -> None:
        self.history.close()

    # Orders.

    async def send(self, name: str, args: Mapping[str, Any] | None = None, settle_s: float = 0.5, sender: str = "c") -> Record | None:
        """Send a command to the trainer, as `CommandDesk.send`.

        Raises:
            ConflictError: there is no trainer to hear it (code `not_running`), or it is being stopped (code `stopping`).
        """
        await self._launched.wait()  # a start in progress has a deadline of its own
        if self._desk is None or self.view.state not in LIVE:
            raise ConflictError(f"run {self.run_id} is {self.view.state}; {name!r} needs a run that is at work", code="not_running")
        if self.view.state is RunState.STOPPING and name != "stop":
            raise ConflictError(f"run {self.run_id} is stopping; {name!r} comes too late", code="stopping")
        return await self._desk.send(name, args or {}, settle_s, sender)

    async def stop(self, args: Mapping[str, Any]) -> None:
        """Ask the runner to climb the stop ladder. With `force`, a runner that does not answer is passed over: the trainer is killed."""
        try:
            await self.send("stop", args, settle_s=0)
        except UnavailableError:
            _, trainer = identities(self._attempt)
            if not args.get("force") or trainer is None or not trainer.kill_group():
                raise

    def end_orphan(self, *, force: bool) -> None:
        """Tell the trainer of a dead runner to stop, as it does by itself, or kill it. Its identity is proved first."""
        if self.orphan is not None:
            self.orphan.kill_group() if force else self.orphan.send_signal(signal.SIGTERM)

    def cancel(self) -> None:
        """Stop a run that no trainer works on: queued, released or waiting for its restart."""
        self.record("run.cancelled", {})
        self._rest()
