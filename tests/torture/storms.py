"""The storms, in the order of the table that they answer to. Each is `await storm(folder, scale, rng, report)`."""

import random
import time
import traceback
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

from tests.torture import (
    clients,
    daemon_kills,
    disk,
    fault_points,
    identity,
    journals,
    runner_points,
    runner_trouble,
    samples,
    trainer_trouble,
)
from tests.torture.report import Report, SkipError

Run = Callable[[Path, float, random.Random, Report], Awaitable[None]]


@dataclass(frozen=True)
class Storm:
    """*short* is the scale of its form in `make test`."""

    name: str
    bar: str
    run: Run
    short: float


STORMS = (
    Storm(
        "daemon-kills", "SIGKILL the daemon 100 times: 0 trainings lost, 0 gaps, 0 repeats; serving again in <= 2 s",
        daemon_kills.random_kills, 0.04,
    ),
    Storm(
        "fault-points", "the daemon dies at every write, rename and spawn: no double start, no lost run, no lie",
        fault_points.every_point, 0.02,
    ),
    Storm(
        "runner-points", "the runner dies at every write, rename and spawn of its own: nothing starts beside its trainer, no lie",
        runner_points.every_point, 0.02,
    ),
    Storm("ends-while-down", "each end of a trainer while the daemon is down is reported exactly", daemon_kills.ends_while_down, 0.2),
    Storm(
        "runner-kills", "the trainer of a dead runner saves and ends: lost, never completed; nothing starts beside it; no pid is trusted",
        runner_trouble.runner_kills, 0.1,
    ),
    Storm(
        "stopped-runner", "one runner of 20 is stopped and the daemon restarted: the other 19 are adopted, serving in <= 3 s",
        runner_trouble.one_stopped_runner, 0.2,
    ),
    Storm(
        "crashes", "segfault, abort, bus error, os._exit, SystemExit, 20 times each: /health answers throughout, detected p99 <= 250 ms",
        trainer_trouble.crashes, 0.05,
    ),
    Storm(
        "damaged-journals", "cut at every byte of the last record, a flipped byte, a missing segment: exact prefix, counted, told",
        journals.damage, 0.1,
    ),
    Storm(
        "full-disk", "a 4 MB state directory fills: the training runs on, an event and /health say so, exit record written, no torn file",
        disk.full_disk, 0.2,
    ),
    Storm("daemon-away", "10 MB of events while the daemon is down: no step waits more than 100 ms", trainer_trouble.daemon_away, 0.1),
    Storm("cycles", "500 starts and stops: descriptors, threads, zombies, memory back to the baseline", trainer_trouble.cycles, 0.01),
    Storm("consoles", "20,000 frames, a 10 MB line, broken UTF-8, NULs: log bounded, memory flat", trainer_trouble.consoles, 1.0),
    Storm(
        "stalled-client", "a stalled WebSocket client beside 50 good ones: dropped within 15 s, others' p99 < 250 ms, growth < 20 MB",
        clients.stalled_client, 0.1,
    ),
    Storm("reconnects", "1,000 reconnects at random cursors: exact", clients.reconnects, 0.03),
    Storm(
        "sample-flood", "10,000 samples in every way that files come to be: all whole ones listed within 10 s, never a half one served",
        samples.flood, 0.05,
    ),
    Storm("second-daemon", "a second daemon on the state directory is refused; a forged pid signals nobody", identity.second_daemon, 0.2),
    Storm("clock-jumps", "the clock set back an hour, and forth: no time-out misfires", identity.clock_jumps, 0.1),
)  # fmt: skip


async def run_storm(storm: Storm, folder: Path, scale: float, seed: int, *, is_timed: bool) -> Report:
    """Its report. What goes wrong in the storm itself is a failure too."""
    report = Report(storm.name, storm.bar, seed, scale, is_timed)
    began = time.monotonic()
    try:
        await storm.run(folder / storm.name, scale, random.Random(f"{seed} {storm.name}"), report)
    except SkipError as reason:
        report.skipped = str(reason)
    except Exception as error:  # noqa: BLE001 - the outer edge: the other storms go on
        report.fail(f"{type(error).__name__}: {error}")
        traceback.print_exc()
    report.took_s = time.monotonic() - began
    return report
