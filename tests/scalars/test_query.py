"""What may be asked of a store, and what it answers."""

import csv
import io
from pathlib import Path
from typing import Any

import pytest

from daemon.errors import InvalidError, NotFoundError
from daemon.scalars.query import Query, answer, chosen, light_answer
from ipc.run_directory import RunDirectory
from tests.scalars.lab import LOSS, append, asked, fill, make_run, step

CATS = "loss/validation_step/cats, dogs"


@pytest.fixture
def directory(tmp_path: Path) -> RunDirectory:
    """Attempt 1 trains to step 10; attempt 2 goes on from a backup at 6; attempt 3 from one at 8, and gets no further than 9."""
    made = make_run(tmp_path, attempts=3)
    for attempt, steps in ((1, range(1, 11)), (2, range(7, 13)), (3, range(9, 10))):
        validated = {9 if attempt == 1 else 8: {CATS: 0.5}}
        append(
            made.attempt(attempt).events, *(step(number, {LOSS: attempt + number / 100, **validated.get(number, {})}) for number in steps)
        )
    fill(made)
    return made


def shown(answer: dict[str, Any]) -> dict[tuple[str, int | None], list[int]]:
    return {(one["tag"], one["attempt"]): one["global_step"] for one in answer["series"]}


def test_steps_that_a_restart_replays_are_told_apart_by_attempt(directory: RunDirectory) -> None:
    found = asked(directory, Query())
    assert shown(found) == {
        (LOSS, 1): list(range(1, 11)), (LOSS, 2): list(range(7, 13)), (LOSS, 3): [9], (CATS, 1): [9], (CATS, 2): [8],
    }  # fmt: skip
    assert found["attempts"] == [
        {"attempt": 1, "first_step": 1, "last_step": 10}, {"attempt": 2, "first_step": 7, "last_step": 12},
        {"attempt": 3, "first_step": 9, "last_step": 9},
    ]  # fmt: skip


def test_the_merged_view_is_the_line_that_led_to_the_model(directory: RunDirectory) -> None:
    found = asked(directory, Query(merged=True))
    assert shown(found) == {(LOSS, None): list(range(1, 10)), (CATS, None): [8]}
    [loss] = [one for one in found["series"] if one["tag"] == LOSS]
    assert [int(value) for value in loss["value"]] == [1] * 6 + [2] * 2 + [3]


def test_a_range_of_steps_can_be_asked_for(directory: RunDirectory) -> None:
    assert shown(asked(directory, Query(LOSS, above=3, until=8))) == {(LOSS, 1): [4, 5, 6, 7, 8], (LOSS, 2): [7, 8], (LOSS, 3): []}


def test_a_chart_that_polls_with_the_last_answers_next_gets_every_point_once(tmp_path: Path) -> None:
    directory = make_run(tmp_path, attempts=2)
    seen: dict[tuple[str, int], list[int]] = {}
    query = Query()
    for attempt, begin in ((1, 1), (2, 30)):
        for number in range(begin, begin + 40):
            append(directory.attempt(attempt).events, step(number, {LOSS: 1.0, **({"lr/unet": 1.0} if number % 3 == 0 else {})}))
            if number % 7 == 0:
                fill(directory)
                found = asked(directory, query)
                query = Query().since(found["next"], directory.run_id)
                for one in found["series"]:
                    seen.setdefault((one["tag"], one["attempt"]), []).extend(one["global_step"])
    fill(directory)
    for one in asked(directory, query)["series"]:
        seen.setdefault((one["tag"], one["attempt"]), []).extend(one["global_step"])
    assert seen == shown(asked(directory, Query()))


def test_next_never_goes_back_while_the_store_is_made_anew(directory: RunDirectory) -> None:
    cursor = asked(directory, Query())["next"]
    directory.scalars.unlink()
    found = asked(directory, Query(LOSS).since(cursor, directory.run_id))
    assert (found["series"], found["next"]) == ([], cursor)
    fill(directory)
    found = asked(directory, Query().since(cursor, directory.run_id))
    assert not any(one["global_step"] for one in found["series"])
    assert found["next"] == cursor


@pytest.mark.parametrize("text", ["yesterday", "-3", "999999-0000.1.5", "1.5", "9" * 30, "000001-0000"])
def test_a_since_that_no_answer_gave_is_refused(directory: RunDirectory, text: str) -> None:
    with pytest.raises(InvalidError, match="global_step") as caught:
        Query().since(text, directory.run_id)
    assert caught.value.code == "bad_cursor"


def test_a_csv_holds_every_point_with_its_attempt_also_merged(directory: RunDirectory) -> None:
    def rows(query: Query) -> list[tuple[str, str, str]]:
        text = b"".join(answer(directory.scalars, directory.run_id, query, True)).decode()
        return [(row["attempt"], row["tag"], row["global_step"]) for row in csv.DictReader(io.StringIO(text))]

    every = rows(Query(form="csv", max_points=None))
    assert every == [
        (str(attempt), tag, str(number)) for (tag, attempt), steps in shown(asked(directory, Query())).items() for number in steps
    ]
    merged = rows(Query(LOSS, form="csv", max_points=None, merged=True))
    assert [(attempt, int(number)) for attempt, _, number in merged] == [("1", n) for n in range(1, 7)] + [("2", 7), ("2", 8), ("3", 9)]
    assert len(rows(Query(LOSS, form="csv", max_points=3, merged=True))) == 3


def test_what_needs_thinning_is_left_to_the_helper(directory: RunDirectory) -> None:
    assert light_answer(directory.scalars, directory.run_id, Query(LOSS, max_points=9), True) is None
    assert light_answer(directory.scalars, directory.run_id, Query(LOSS, max_points=10), True) is not None


def test_tags_are_named_or_matched_and_may_hold_commas(directory: RunDirectory) -> None:
    known = [LOSS, CATS, "loss/validation_step/cats", "lr/unet", "lr/*"]
    assert chosen(f"{CATS},lr/unet", known) == {CATS, "lr/unet"}
    assert chosen("loss/*", known) == {LOSS, CATS, "loss/validation_step/cats"}
    assert chosen("lr/*", known) == {"lr/*"}
    assert chosen("nothing*,,", known) == set()
    with pytest.raises(NotFoundError, match="did you mean loss/train_step") as caught:
        chosen("los/train_step", known)
    assert (caught.value.code, caught.value.details["nearest"][0]) == ("no_tag", LOSS)
    with pytest.raises(NotFoundError, match="dogs"):
        chosen("loss/validation_step/cats, dogs and birds", known)
    with pytest.raises(NotFoundError):
        chosen("," * 8000 + "x", known)
