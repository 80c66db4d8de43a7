"""The daemon dies and comes back; the trainings do not notice, and a client that comes back misses nothing."""

import asyncio
import random
from pathlib import Path

from ipc.exit_record import COMPLETED
from tests.torture.follower import Follower, steps_heard
from tests.torture.ground import FOREVER, Ground, StormDaemon, check_gone, ground, times
from tests.torture.report import Report

ENDS: dict[str, tuple[int | None, str | None]] = {
    "exit:0": (0, None), "exit:1": (1, None), "exit:3": (3, None), "system_exit:4": (4, None), "segv": (None, "SIGSEGV"),
    "abort": (None, "SIGABRT"), "bus": (None, "SIGBUS"), "kill": (None, "SIGKILL"), "finish": (0, None),
}  # fmt: skip


async def random_kills(folder: Path, scale: float, rng: random.Random, report: Report) -> None:
    """One long training through all the kills, short ones queued on the way, and a client that only knows its cursor."""
    kills = times(100, scale, 3)
    async with ground(folder, places=2) as place:
        daemon = await place.daemon()
        async with Follower(place).following() as follower:
            await asyncio.sleep(0.3)
            long_run = await daemon.begin(place.config({"step_s": 0.01}, **FOREVER))
            serving, short_runs = await _kill_again_and_again(place, daemon, kills, rng)
            daemon = place.daemons[-1]
            await daemon.wait_step(long_run, 1)
            await daemon.post(f"/runs/{long_run}/stop")
            ends = {run_id: await daemon.wait_ended(run_id) for run_id in [long_run, *short_runs]}
            await follower.wait_quiet()
        report.show("kills", kills)
        report.show("trainings", len(ends))
        report.exactly(
            "trainings lost", sum(run["state"] != "completed" for run in ends.values()) - (ends[long_run]["state"] == "stopped"), 0
        )
        report.exactly("attempts of the long training", ends[long_run]["attempt"], 1)
        await _check_stream(place, follower, long_run, ends[long_run]["progress"]["global_step"], report)
        report.seconds("serving again", serving, 1.0, 2.0)
        await check_gone(place, report)


async def _kill_again_and_again(place: Ground, daemon: StormDaemon, kills: int, rng: random.Random) -> tuple[list[float], list[str]]:
    serving: list[float] = []
    short_runs: list[str] = []
    for number in range(kills):
        if number % 8 == 0:
            short_runs.append(await daemon.queue(place.config()))
        await asyncio.sleep(rng.choice((0.0, 0.05, 0.2, 0.6)) * rng.random())
        await daemon.kill()
        while True:
            daemon = place.prepare_daemon()
            if rng.random() < 0.2:  # it dies before it serves, somewhere in its start
                await daemon.launch()
                await asyncio.sleep(rng.random() * 0.8)
                await daemon.kill()
                continue
            await daemon.start()
            break
        serving.append(daemon.serving_after_s)
    return serving, short_runs


async def _check_stream(place: Ground, follower: Follower, run_id: str, last_step: int, report: Report) -> None:
    steps = steps_heard(follower, run_id)
    report.show("connections of the client", follower.connections)
    report.show("messages it heard", len(follower.heard))
    report.exactly("steps missing", len(set(range(1, last_step + 1)) - set(steps)), 0)
    report.exactly("steps repeated", len(steps) - len(set(steps)), 0)
    async with Follower(place, follower.first).following() as again:
        await again.wait_quiet()
    report.exactly("as a client hears it in one piece", _in_runs(follower) == _in_runs(again), expected=True)


def _in_runs(follower: Follower) -> dict[str, list[tuple[str, str]]]:
    """By run: the order between two runs is not promised."""
    found: dict[str, list[tuple[str, str]]] = {}
    for run_id, kind, data in follower.told():
        found.setdefault(run_id, []).append((kind, data))
    return found


async def ends_while_down(folder: Path, scale: float, rng: random.Random, report: Report) -> None:
    """Trainers of every end at once, while no daemon is there."""
    rounds = times(5, scale)
    right: dict[str, int] = dict.fromkeys(ENDS, 0)
    for number in range(rounds):
        async with ground(folder / str(number), places=len(ENDS)) as place:
            daemon = await place.daemon()
            signal_file = place.folder / "now"
            runs = {}
            for kind in ENDS:
                weather = {"step_s": 0.05} if kind == "finish" else {"step_s": 0.01, "do": kind, "on_file": str(signal_file)}
                runs[kind] = await daemon.queue(place.config(weather, epochs=4 if kind == "finish" else 100_000))
            for run_id in runs.values():
                await daemon.wait_step(run_id, 1)
            await daemon.kill()
            signal_file.touch()
            await place.wait_runners_gone()
            daemon = await place.daemon()
            for kind, run_id in runs.items():
                run = await daemon.get(f"/runs/{run_id}")
                exit_record = run["exit"] or {}
                wanted_state = "completed" if kind == "finish" else "failed"
                right[kind] += (exit_record.get("code"), exit_record.get("signal"), run["state"]) == (*ENDS[kind], wanted_state)
                if (exit_record.get("cause") == COMPLETED) != (kind == "finish"):
                    report.fail(f"{kind} is called {exit_record.get('cause')}")
            await check_gone(place, report) if number == rounds - 1 else None
    for kind, count in right.items():
        report.exactly(f"{kind} reported exactly, of {rounds}", count, rounds)
