from datetime import datetime

import pytest

from trainer_runner.backends.builtin.intervals import Intervals
from trainer_runner.backends.builtin.naming import Stamps, counters, safe_name
from trainer_runner.trainer.backend import Place


def fired(interval: float, unit: str, *, at_zero: bool, steps: int = 21, per_epoch: int = 7) -> list[int]:
    intervals = Intervals(lambda: 0.0)
    places = (Place(global_step=step, epoch=step // per_epoch, epoch_step=step % per_epoch) for step in range(steps))
    return [place.global_step for place in places if intervals.is_due("x", interval, unit, place, at_zero=at_zero)]


@pytest.mark.parametrize(
    ("interval", "unit", "at_zero", "expected"),
    [
        (7, "STEP", False, [6, 13, 20]),  # as seen with OneTrainer
        (9, "STEP", False, [8, 17]),
        (5, "STEP", True, [0, 5, 10, 15, 20]),
        (1, "EPOCH", True, [0, 7, 14]),
        (1, "EPOCH", False, [7, 14]),
        (2, "EPOCH", False, [14]),
        (0, "STEP", True, []),
        (0, "SECOND", True, []),
        (3, "NEVER", True, []),
        (3, "ALWAYS", False, list(range(21))),
    ],
)
def test_intervals_fire_where_onetrainer_fires_them(interval: float, unit: str, at_zero: bool, expected: list[int]) -> None:
    assert fired(interval, unit, at_zero=at_zero) == expected


@pytest.mark.parametrize(("at_zero", "expected"), [(True, [0, 61, 122]), (False, [61, 122])])
def test_a_minute_is_counted_from_the_last_time(at_zero: bool, expected: list[int]) -> None:
    now = [0.0]
    intervals = Intervals(lambda: now[0])
    found = []
    for second in range(150):
        now[0] = float(second)
        if intervals.is_due("x", 1, "MINUTE", Place(global_step=second), at_zero=at_zero):
            found.append(second)
    assert found == expected


def test_samples_can_skip_the_first_epochs() -> None:
    intervals = Intervals(lambda: 0.0)
    assert [intervals.has_passed(2, "EPOCH", Place(epoch=epoch)) for epoch in range(4)] == [False, False, True, True]


@pytest.mark.parametrize(
    ("prompt", "name"),
    [
        ("a handwritten seven", "a handwritten seven"),
        ("../../etc/passwd", "....etcpasswd"),
        ("x" * 50, "x" * 32),
        (f"{'y' * 31} tail", "y" * 31),
        ("a: b? c*", "a b c"),
        ("größe #1_2-3.", "größe #1_2-3."),
        ("\ud800/\0", ""),
    ],
)
def test_a_prompt_becomes_the_part_of_a_folder_name_that_onetrainer_makes_of_it(prompt: str, name: str) -> None:
    assert safe_name(prompt) == name


def test_counters_are_global_step_epoch_and_epoch_step() -> None:
    assert counters(Place(global_step=280, epoch=5, epoch_step=3)) == "280-5-3"


def test_two_names_in_one_second_differ_and_names_never_go_back() -> None:
    taken: set[str] = set()
    clock = iter([datetime(2026, 1, 2, 3, 4, 59), datetime(2026, 1, 2, 3, 4, 59, 900_000), datetime(2026, 1, 2, 3, 4, 58)])  # noqa: DTZ001 - local, as OneTrainer's
    stamps = Stamps(lambda: next(clock))
    for _ in range(3):
        taken.add(stamps.take(lambda stamp: f"{stamp}-backup-1-0-1", taken.__contains__))
    assert sorted(taken) == [f"2026-01-02_{time}-backup-1-0-1" for time in ("03-04-59", "03-05-00", "03-05-01")]
