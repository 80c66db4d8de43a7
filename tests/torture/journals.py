"""Journals that are cut, flipped and bereft of a segment: as readers see them, and as a daemon serves them."""

import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from daemon.supervisor.merge import MergedReader
from ipc.atomic import replace_json
from ipc.journal import JournalReader, JournalWriter
from ipc.run_directory import RunDirectory
from tests.e2e.daemon import Json
from tests.torture.ground import Ground, ground, times
from tests.torture.past import make_run
from tests.torture.report import Report

_SEGMENT_BYTES = 1200
_STEPS = 24


class Read(NamedTuple):
    """What a reader found: the numbers of the records, of its gaps, and of lines that are none."""

    numbers: list[int]
    missing: list[int]
    bad_lines: int


class Damage(NamedTuple):
    """One way to hurt a journal of the run directory, and the attempt's records that must still be read."""

    name: str
    hurt: Callable[[RunDirectory], None]
    wanted: list[int]
    is_told: bool
    state: str = "completed"


async def damage(folder: Path, scale: float, rng: random.Random, report: Report) -> None:
    """First every byte with a reader, then one daemon over a state directory full of damaged runs."""
    folder.mkdir(parents=True)
    whole = make_run(folder / "000001-aaaa", _STEPS, _SEGMENT_BYTES)
    segments = sorted(whole.attempt(1).events.iterdir())
    total = _numbers_in(segments[-1])[-1]
    report.show("segments, records", f"{len(segments)}, {total}")
    _cut_last_record(folder, segments, total, report)
    _flip_bytes(folder, segments, total, rng, scale, report)
    _remove_segments(folder, segments, total, report)
    _hurt_the_daemons_own(folder, whole, report)
    async with ground(folder / "served") as place:
        await _serve_damaged(place, whole, total, rng, times(200, scale, 12), report)


def _read(folder: Path) -> Read:
    reader = JournalReader(folder)
    numbers: list[int] = []
    while records := reader.read(max_bytes=700):
        numbers += [record["seq"] for record in records]
    reader.close()
    return Read(numbers, [number for gap in reader.gaps for number in range(gap.first, gap.last + 1)], reader.bad_lines)


def _numbers_in(segment: Path) -> list[int]:
    first = int(segment.name[:12])
    return list(range(first, first + segment.read_bytes().count(b"\n")))


def _cut_last_record(folder: Path, segments: list[Path], total: int, report: Report) -> None:
    """At each byte: the exact prefix is read, and a writer goes on behind it."""
    data = segments[-1].read_bytes()
    begins = data.rfind(b"\n", 0, -1) + 1
    wrong = 0
    target = folder / "cut"
    shutil.copytree(segments[-1].parent, target)
    for cut in range(begins, len(data)):
        (target / segments[-1].name).write_bytes(data[:cut])
        reader = JournalReader(target)
        numbers = [record["seq"] for _ in range(99) for record in reader.read()]
        writer = JournalWriter(target)  # by the time a writer comes, a reader may have been there
        writer.append({"type": "after"})
        numbers += [record["seq"] for record in reader.read()]
        wrong += numbers != list(range(1, total + 1)) or reader.bad_lines != 0 or _read(target) != (numbers, [], 0)
        reader.close()
        writer.close()
    report.show("cuts of the last record", len(data) - begins)
    report.exactly("of them read wrongly", wrong, 0)


def _flip_bytes(folder: Path, segments: list[Path], total: int, rng: random.Random, scale: float, report: Report) -> None:
    """A flipped byte costs its own line and the count of it, or, where JSON still stands, nothing; a lost newline costs two lines."""
    middle = segments[len(segments) // 2]
    data = middle.read_bytes()
    places = range(len(data)) if scale >= 1 else sorted(rng.sample(range(len(data)), min(len(data), 200)))
    lost_lines: list[int] = []
    wrong = 0
    target = folder / "flipped"
    shutil.copytree(middle.parent, target)
    for place in places:
        flipped = data[:place] + bytes([data[place] ^ (1 << rng.randrange(8))]) + data[place + 1 :]
        (target / middle.name).write_bytes(flipped)
        found = _read(target)
        lost = set(range(1, total + 1)) - set(found.numbers)
        lost_lines.append(len(lost))
        ascending = found.numbers == sorted(set(found.numbers))
        # A digit of a number may have become another: then the number that is missing is a gap, and that is told too.
        wrong += not ascending or len(lost) > 2 or (bool(lost) and not (found.bad_lines or found.missing)) or found.numbers[-1] != total
    report.show("flipped bytes", len(places))
    report.at_most("records lost to one of them at most", max(lost_lines), 2)
    report.exactly("of them lost more, or untold, or ended the stream", wrong, 0)


def _remove_segments(folder: Path, segments: list[Path], total: int, report: Report) -> None:
    wrong = 0
    for gone in segments[:-1]:
        target = folder / "gap"
        shutil.copytree(gone.parent, target)
        (target / gone.name).unlink()
        missing = _numbers_in(gone)
        wrong += _read(target) != ([number for number in range(1, total + 1) if number not in missing], missing, 0)
        shutil.rmtree(target)
    report.exactly(f"missing segments told wrongly, of {len(segments) - 1}", wrong, 0)


def _hurt_the_daemons_own(folder: Path, whole: RunDirectory, report: Report) -> None:
    """Cut at each byte: the merged history never raises, and the attempt's records are all there once run.starting is."""
    own = min(whole.daemon.iterdir())
    data = own.read_bytes()
    second = data.index(b"\n") + 1
    target = RunDirectory(folder / "000002-bbbb")
    wrong = 0
    shutil.copytree(whole.path, target.path, ignore=_without_pipes)
    for cut in range(len(data) + 1):
        (target.daemon / own.name).write_bytes(data[:cut])
        reader = MergedReader(target)
        records = reader.read()
        expected = (cut >= second) + (_STEPS + 3 if cut == len(data) else 0)
        wrong += len(records) != expected
        reader.close()
    report.exactly(f"cuts of the daemon's own journal read wrongly, of {len(data) + 1}", wrong, 0)


async def _serve_damaged(place: Ground, whole: RunDirectory, total: int, rng: random.Random, count: int, report: Report) -> None:
    """One daemon, many damaged runs: each is listed and served as far as it goes, and what is missing is told in its history."""
    damages: dict[str, Damage] = {}
    for number in range(1, count + 1):
        run = RunDirectory(place.state_dir / "runs" / f"{number:06d}-cccc")
        shutil.copytree(whole.path, run.path, ignore=_without_pipes)
        replace_json(run.run, {**_meta(whole), "id": run.run_id, "number": number})
        damages[run.run_id] = chosen = _choose(run, total, rng)
        chosen.hurt(run)
    daemon = await place.daemon()
    runs = {run["id"]: run for run in (await daemon.get("/runs"))["runs"]}
    report.exactly(f"damaged runs listed, of {count}", len(runs), count)
    wrong: list[str] = []
    for run_id, chosen in damages.items():
        events: list[Json] = (await daemon.get(f"/runs/{run_id}/events?limit=512"))["events"]
        numbers = [event["seq"] for event in events if "after" not in event]
        told = any(event["type"] == "journal.damaged" for event in events)
        if numbers != chosen.wanted:
            wrong.append(f"{chosen.name}: read {numbers}, not {chosen.wanted}")
        elif told != chosen.is_told:
            wrong.append(f"{chosen.name}: journal.damaged is {told}")
        elif runs[run_id]["state"] != chosen.state:
            wrong.append(f"{chosen.name}: the run is {runs[run_id]['state']}")
    after = await daemon.queue(place.config())  # those whose journals cannot be written to stand in nobody's way
    report.exactly("a run queued behind them", (await daemon.wait_ended(after))["state"], "completed")
    await daemon.kill()
    daemon = await place.daemon()
    for run_id, chosen in damages.items():
        events = (await daemon.get(f"/runs/{run_id}/events?limit=512"))["events"]
        if sum(event["type"] == "journal.damaged" and "gap" in event["damage"] for event in events) > 1:
            wrong.append(f"{chosen.name}: told again by the next daemon")
    report.exactly("served wrongly", len(wrong), 0)
    report.failures += wrong[:5]


def _choose(run: RunDirectory, total: int, rng: random.Random) -> Damage:
    segments = sorted(run.attempt(1).events.iterdir())
    everything = list(range(1, total + 1))
    middle = rng.choice(segments[1:-1])
    lost = _numbers_in(middle)
    line = rng.randrange(len(lost))
    match rng.choice(("cut", "flip", "gap", "own")):
        case "own":
            # Nothing is known of the run any more: it must not be started, nor keep the daemon from serving the others.
            return Damage("own", lambda run: _write(next(run.daemon.iterdir()), b"\0" * 300 + b"\n"), [], is_told=False, state="lost")
        case "cut":
            # The end stands in the exit record too: a run whose last event was cut is still known to have completed.
            data = segments[-1].read_bytes()
            cut = rng.randrange(data.rfind(b"\n", 0, -1) + 1, len(data))
            return Damage("cut", lambda _: _write(segments[-1], data[:cut]), everything[:-1], is_told=False)
        case "flip":
            lines = middle.read_bytes().split(b"\n")
            lines[line] = b"\x00" + lines[line][1:]
            kept = [number for number in everything if number != lost[line]]
            return Damage("flip", lambda _: _write(middle, b"\n".join(lines)), kept, is_told=True)
        case _:
            kept = [number for number in everything if number not in lost]
            return Damage("gap", lambda _: middle.unlink(), kept, is_told=True)


def _without_pipes(_folder: str, names: list[str]) -> list[str]:
    return [name for name in names if name.endswith(".pipe")]


def _write(path: Path, data: bytes) -> None:
    path.write_bytes(data)


def _meta(run: RunDirectory) -> Json:
    return {"v": 1, "created": 1.0, "backend": "onetrainer", "launcher": "direct", "name": run.run_id}
