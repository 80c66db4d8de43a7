"""Fewer points that look the same."""

import math

import hypothesis
from hypothesis import strategies as some

from daemon.scalars.rows import Columns
from daemon.scalars.store import Chunk
from daemon.scalars.thinning import thin


def columns_of(values: list[float]) -> Columns:
    columns = Columns()
    for number, value in enumerate(values):
        columns.append(number + 1, 1000.0 + number, value)
    return columns


def thinned(values: list[float], max_points: int, cut: int = 0) -> list[tuple[int, float]]:
    """Step and value of what is left; the points lie in two chunks, of which the first ends at *cut*."""
    whole = columns_of(values)
    parts = [whole.part(0, cut), whole.part(cut, len(whole))]
    found = thin([Chunk(part.to_bytes(), 0, len(part)) for part in parts], max_points)
    assert [1000.0 + step - 1 for step in found.steps] == list(found.times)
    return list(zip(found.steps, found.values, strict=True))


def is_same(one: float, other: float) -> bool:
    return one == other or (math.isnan(one) and math.isnan(other))


@hypothesis.settings(max_examples=200)
@hypothesis.given(
    some.lists(some.floats(width=32) | some.sampled_from([math.nan, math.inf, -math.inf]), min_size=1, max_size=400),
    some.integers(3, 120), some.integers(0, 400),
)  # fmt: skip
def test_what_is_left_are_points_of_the_series_in_order_with_its_ends_and_its_peaks(values: list[float], room: int, cut: int) -> None:
    left = thinned(values, room, min(cut, len(values)))
    steps = [step for step, _ in left]
    assert steps == sorted(set(steps))
    assert len(left) <= room
    assert all(is_same(values[step - 1], value) for step, value in left)
    if len(values) <= room:
        assert len(left) == len(values)
        return
    finite = [(number + 1, value) for number, value in enumerate(values) if math.isfinite(value)]
    broken = [number + 1 for number, value in enumerate(values) if not math.isfinite(value)]
    if len(broken) <= room // 4:
        assert set(broken) <= set(steps)
    if room >= 20 and len(finite) >= 2:
        assert {finite[0][0], finite[-1][0]} <= set(steps)
        kept = [value for _, value in left if math.isfinite(value)]
        assert (min(kept), max(kept)) == (min(value for _, value in finite), max(value for _, value in finite))


def test_a_single_spike_among_a_million_steps_stays() -> None:
    values = [0.1 + 0.05 * math.sin(number) for number in range(1_000_000)]
    values[345_678], values[777_777], values[123_456] = 9.0, -9.0, math.nan
    left = dict(thinned(values, 1000, 500_000))
    assert (left[345_679], left[777_778]) == (9.0, -9.0)
    assert math.isnan(left[123_457])
    assert len(left) <= 1000


def test_of_more_broken_values_than_have_room_the_ends_of_each_gap_stay() -> None:
    values = [1.0] * 10_000
    values[3000:4000] = [math.nan] * 1000
    values[7000] = math.inf
    left = dict(thinned(values, 100))
    assert {3001, 4000, 7001} <= left.keys()
    assert sum(not math.isfinite(value) for value in left.values()) == 3


def test_a_series_of_nothing_but_nan_is_thinned_evenly() -> None:
    left = thinned([math.nan] * 5000, 10)
    assert (left[0][0], left[-1][0]) == (1, 5000)
    assert 2 <= len(left) <= 10
    scattered = [math.nan if number % 2 else 1.0 for number in range(5000)]
    assert len(thinned(scattered, 100)) <= 100
