import os
from pathlib import Path

import pytest

from daemon.errors import InvalidError
from daemon.samples.index import SampleIndex, page_of_folder
from daemon.samples.names import SampleInfo
from daemon.samples.selection import ALL, Page, Place, Wanted
from tests.samples import files


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Two prompts at three steps each, two of them at the same time, and one custom sample."""
    for index, prompt in enumerate(("a Größe", "a dog")):
        folder = tmp_path / f"{index} - {prompt}"
        folder.mkdir()
        for step in (5, 10, 15):
            path = folder / f"2026-training-sample-{step}-1-2.png"
            path.write_bytes(files.image("PNG"))
            os.utime(path, (1000 + step, 1000 + step))
    (tmp_path / "custom").mkdir()
    (tmp_path / "custom" / "2026-training-sample-12-1-2.png").write_bytes(files.image("PNG"))
    os.utime(tmp_path / "custom" / "2026-training-sample-12-1-2.png", (1012, 1012))
    return tmp_path


@pytest.fixture(params=["index", "folder"])
def page(request: pytest.FixtureRequest, root: Path) -> "Pager":
    index = SampleIndex(root)
    index.reconcile()
    return Pager(index if request.param == "index" else None, root)


class Pager:
    def __init__(self, index: SampleIndex | None, root: Path) -> None:
        self.index, self.root = index, root

    def __call__(self, limit: int, wanted: Wanted = ALL, before: Place | None = None) -> Page:
        return self.index.page(limit, wanted, before) if self.index else page_of_folder(self.root, limit, wanted, before)

    def all(self, limit: int, wanted: Wanted = ALL) -> list[list[SampleInfo]]:
        """Every page, by its cursor as a client has it."""
        pages = [self(limit, wanted)]
        while (cursor := pages[-1].next) is not None:
            pages.append(self(limit, wanted, Place.decode(cursor)))
        return [list(one.samples) for one in pages]


def steps(samples: list[SampleInfo]) -> list[tuple[int | None, int | None]]:
    return [(info.step, info.prompt_index) for info in samples]


@pytest.mark.parametrize("limit", [1, 2, 3, 7, 100])
def test_pages_give_every_sample_once_newest_first(page: Pager, limit: int) -> None:
    pages = page.all(limit)
    assert all(len(one) == limit for one in pages[:-1])
    assert pages[-1]
    assert steps([info for one in pages for info in one]) == [(15, 1), (15, 0), (12, None), (10, 1), (10, 0), (5, 1), (5, 0)]


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        (Wanted(prompt_index=0), [(15, 0), (10, 0), (5, 0)]),
        (Wanted(prompt="DOG"), [(15, 1), (10, 1), (5, 1)]),
        (Wanted(prompt="GRÖSSE"), []),
        (Wanted(prompt="grösse", step_from=6), [(15, 0), (10, 0)]),
        (Wanted(prompt="gröSSE"), [(15, 0), (10, 0), (5, 0)]),
        (Wanted(step_from=10, step_to=12), [(12, None), (10, 1), (10, 0)]),
        (Wanted(kind="custom"), [(12, None)]),
        (Wanted(kind="default", step_to=5), [(5, 1), (5, 0)]),
        (Wanted(prompt_index=7), []),
    ],
)
def test_a_filter_takes_what_is_wanted_over_all_pages(page: Pager, wanted: Wanted, found: list[tuple[int, int]]) -> None:
    if wanted.prompt == "GRÖSSE":  # ß is folded to ss: both spellings are found
        found = [(15, 0), (10, 0), (5, 0)]
    for limit in (1, 2, 50):
        assert steps([info for one in page.all(limit, wanted) for info in one]) == found


def test_what_the_trainer_tells_wins_over_the_name_in_a_filter_too(root: Path) -> None:
    index = SampleIndex(root)
    index.reconcile()
    path = root / "1 - a dog" / "2026-training-sample-5-1-2.png"
    index.tell(path, {"global_step": 77, "prompt": "a dog with a very long story", "index": 4, "seed": 3})
    [info] = index.page(9, Wanted(step_from=77, prompt="long story", prompt_index=4)).samples
    assert (info.path, info.seed) == (str(path), 3)
    assert index.page(9, Wanted(step_to=5, prompt="dog")).samples == []


def test_a_cursor_goes_on_though_newer_samples_have_come_and_its_own_has_gone(root: Path) -> None:
    index = SampleIndex(root)
    index.reconcile()
    first = index.page(2)
    Path(first.samples[1].path).unlink()
    (root / "0 - a Größe" / "2026-training-sample-99-1-2.png").write_bytes(files.image("PNG"))
    index.reconcile()
    assert first.next is not None
    assert steps(list(index.page(2, before=Place.decode(first.next)).samples)) == [(12, None), (10, 1)]


@pytest.mark.parametrize("text", ["x", "", "AAAA", "MTIz", "ä", "L2V0Yw", "OTk5OTk5OTk5OTk5OTk5OTk5OTk5OTk5Oi94"])
def test_a_text_that_is_no_cursor_is_refused(text: str) -> None:
    with pytest.raises(InvalidError) as caught:
        Place.decode(text)
    assert caught.value.code == "bad_cursor"
