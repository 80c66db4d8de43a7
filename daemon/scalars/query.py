"""What is asked of a store, and the answer, as JSON or CSV. Runs in the daemon where little is to be done, else in a helper process."""

import contextlib
import csv
import difflib
import io
import math
import re
import sqlite3
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Self

import orjson

from daemon.errors import InvalidError, NotFoundError, UnavailableError
from daemon.scalars.rows import Columns
from daemon.scalars.store import ScalarStore, Series
from ipc.messages import number_to_json

NO_STEP = 2**63 - 1
"""A step that none comes behind."""

GARBLED = "garbled_scalars"
"""The code of the error of a store that will never be right again."""

_LIGHT_POINTS = 20_000
_CSV_HEAD = ("attempt", "tag", "global_step", "time", "value")
_CURSOR = re.compile(r"([0-9]{6}-[0-9a-f]{4})\.([0-9]{1,9})\.([0-9]{1,19})")


@dataclass(frozen=True, slots=True)
class Query:
    """Points with steps in (*above*, *until*]; of attempt *attempt* and before, only those behind its step *behind*.

    *max_points* is for each series; None: all. *merged*: one series a tag, without what a later attempt has trained again.
    """

    tags: str | None = None
    above: int = -1
    until: int = NO_STEP
    attempt: int = 0
    behind: int = -1
    max_points: int | None = 1000
    merged: bool = False
    form: str = "json"

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    def since(self, text: str, run_id: str) -> Self:
        """This query, for what came after *text*: a cursor (`next` of an answer about the same run), or a `global_step`.

        Raises:
            InvalidError: it is neither (code `bad_cursor`).
        """
        if re.fullmatch(r"[0-9]{1,18}", text):
            return replace(self, above=int(text))
        found = _CURSOR.fullmatch(text)
        if found is None or found[1] != run_id or int(found[3]) > NO_STEP:
            raise InvalidError(
                f"since: {text[:100]!r} is neither a global_step nor the `next` of an earlier answer about run {run_id}; "
                "leave it out to begin without one",
                code="bad_cursor",
            )
        return replace(self, attempt=int(found[2]), behind=int(found[3]))


@dataclass(frozen=True, slots=True)
class Part:
    """The points of *series* with steps in (*above*, *until*]."""

    series: Series
    above: int
    until: int


@dataclass(frozen=True, slots=True)
class Line:
    """One series of the answer; *attempt* None: it is merged of several."""

    tag: str
    attempt: int | None
    parts: tuple[Part, ...]


def overview(path: Path) -> list[Series]:
    """All series of the store at *path*; none where there is none. Raises UnavailableError as `light_answer`."""
    with _asking(path) as store:
        return store.series() if store else []


def light_answer(path: Path, run_id: str, query: Query, is_complete: bool) -> list[bytes] | None:
    """As `answer`, where that takes milliseconds and no thinning, as the polls of a live chart do; else None.

    Raises:
        NotFoundError: a tag is not there (code `no_tag`).
        UnavailableError: the store cannot be read (codes `no_scalars` and `GARBLED`).
    """
    with _asking(path) as store:
        lines = _lines(store, query) if store else []
        sizes = [sum(store.count(part.series, part.above, part.until) for part in line.parts) for line in lines] if store else []
        if sum(sizes) > _LIGHT_POINTS or any(size > (query.max_points or _LIGHT_POINTS) for size in sizes):
            return None
        return list(_pieces(store, run_id, query, is_complete))


def answer(path: Path, run_id: str, query: Query, is_complete: bool) -> Iterator[bytes]:
    """The body of the answer, in pieces: a single one as JSON, one for some thousand points as CSV. Raises as `light_answer`."""
    with _asking(path) as store:
        yield from _pieces(store, run_id, query, is_complete)


def _pieces(store: ScalarStore | None, run_id: str, query: Query, is_complete: bool) -> Iterator[bytes]:
    if query.form == "csv":
        yield from _csv(store, query)
    else:
        yield orjson.dumps(_json(store, run_id, query, is_complete))


def _json(store: ScalarStore | None, run_id: str, query: Query, is_complete: bool) -> dict[str, Any]:
    every = store.series() if store else []
    lines = [_shown(store, line, query) for line in _lines(store, query)] if store else []
    attempts = [
        {
            "attempt": attempt,
            "first_step": min(one.first_step for one in every if one.attempt == attempt),
            "last_step": max(one.last.steps[0] for one in every if one.attempt == attempt),
        }
        for attempt in sorted({one.attempt for one in every})
    ]
    # Never back: a store that is made anew comes to that place again, and the client has what stands before it.
    number, step = max([(query.attempt, max(query.behind, 0)), *((one["attempt"], one["last_step"]) for one in attempts)])
    return {
        "run_id": run_id, "series": lines, "attempts": attempts, "next": f"{run_id}.{number}.{step}", "is_complete": is_complete,
    }  # fmt: skip


def _shown(store: ScalarStore, line: Line, query: Query) -> dict[str, Any]:
    columns, count = _points(store, line, query)
    values = [value if math.isfinite(value) else number_to_json(value) for value in columns.values]
    return {
        "tag": line.tag, "attempt": line.attempt, "count": count,
        "global_step": columns.steps.tolist(), "time": columns.times.tolist(), "value": values,
    }  # fmt: skip


def _points(store: ScalarStore, line: Line, query: Query) -> tuple[Columns, int]:
    """The points of *line*, thinned if need be, and how many there were."""
    chunks = [chunk for part in line.parts for chunk in store.chunks(part.series, part.above, part.until)]
    count = sum(chunk.stop - chunk.start for chunk in chunks)
    if query.max_points is not None and count > query.max_points:
        from daemon.scalars.thinning import thin  # noqa: PLC0415 - numpy: 20 MB that the daemon never pays

        return thin(chunks, query.max_points), count
    columns = Columns()
    for chunk in chunks:
        columns.extend(Columns.from_bytes(chunk.data).part(chunk.start, chunk.stop))
    return columns, count


def _csv(store: ScalarStore | None, query: Query) -> Iterator[bytes]:
    yield (",".join(_CSV_HEAD) + "\n").encode()
    if store is None:
        return
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    for line in _lines(store, query):
        for columns in _portions(store, line, query):
            attempts = _attempts(line, columns)
            points = zip(attempts, columns.steps, columns.times, columns.values, strict=True)
            writer.writerows((attempt, line.tag, step, time, number_to_json(value)) for attempt, step, time, value in points)
            yield text.getvalue().encode("utf-8", "replace")
            text.seek(0)
            text.truncate()


def _attempts(line: Line, columns: Columns) -> list[int]:
    """From which attempt each point of *line* is: the parts of a merged one follow on each other, each up to where the next begins."""
    ends = [part.until for part in line.parts]
    return [line.parts[bisect_left(ends, step)].series.attempt for step in columns.steps]


def _portions(store: ScalarStore, line: Line, query: Query) -> Iterator[Columns]:
    if query.max_points is not None:
        yield _points(store, line, query)[0]
        return
    for part in line.parts:
        yield from store.read(part.series, part.above, part.until)


def _lines(store: ScalarStore, query: Query) -> list[Line]:
    every = store.series()
    tags = {one.tag for one in every} if query.tags is None or not every else chosen(query.tags, sorted({one.tag for one in every}))
    begun: dict[int, int] = {}
    for one in every:
        begun[one.attempt] = min(begun.get(one.attempt, one.first_step), one.first_step)
    parts: list[Part] = []
    for one in every:
        if one.tag not in tags or one.attempt < query.attempt:
            continue
        above = max(query.above, query.behind) if one.attempt == query.attempt else query.above
        until = query.until
        if query.merged:
            until = min([until, *(first - 1 for attempt, first in begun.items() if attempt > one.attempt)])
        parts.append(Part(one, above, until))
    if not query.merged:
        return [Line(part.series.tag, part.series.attempt, (part,)) for part in sorted(parts, key=lambda part: part.series.tag)]
    return [Line(tag, None, tuple(part for part in parts if part.series.tag == tag)) for tag in sorted({part.series.tag for part in parts})]


def chosen(text: str, known: Sequence[str]) -> set[str]:
    """The tags of *known* that *text* names: tags between commas, in which `*` stands for anything. A tag may itself hold commas.

    Raises:
        NotFoundError: one without a `*` is not there (code `no_tag`).
    """
    words = text.split(",")
    found: set[str] = set()
    start = 0
    longest = 1 + max((tag.count(",") for tag in known), default=0)
    while start < len(words):
        ends = range(min(len(words), start + longest), start, -1)
        end = next((end for end in ends if ",".join(words[start:end]) in known), None)
        if end is not None:
            found.add(",".join(words[start:end]))
        elif "*" in words[start]:
            pattern = re.compile(".*".join(map(re.escape, words[start].split("*"))), re.DOTALL)
            found |= {tag for tag in known if pattern.fullmatch(tag)}
        elif words[start]:
            _refuse(words[start], known)
        start = end or start + 1
    return found


def _refuse(word: str, known: Sequence[str]) -> None:
    near = difflib.get_close_matches(word[:200], known, n=3, cutoff=0.4)
    hint = f"did you mean {' or '.join(near)}?" if near else f"it has: {', '.join(known[:20])}"
    raise NotFoundError(f"tags: the run has no scalar {word[:200]!r}; {hint}", code="no_tag", tag=word[:200], nearest=near)


@contextlib.contextmanager
def _asking(path: Path) -> Iterator[ScalarStore | None]:
    """The store at *path* for reading, or None; what SQLite says against it becomes an UnavailableError."""
    try:
        store = ScalarStore.reading(path)
        try:
            yield store
        finally:
            if store is not None:
                store.close()
    except (sqlite3.Error, ValueError) as error:
        is_garbled = not isinstance(error, sqlite3.OperationalError)
        what = "it is made anew from the run's journals; ask again in a moment" if is_garbled else "ask again in a moment"
        raise UnavailableError(f"{path} cannot be read: {error}; {what}", code=GARBLED if is_garbled else "no_scalars") from error
