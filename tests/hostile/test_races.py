"""A path is checked, and then its folder becomes a link: what counts is what was opened."""

import time
from pathlib import Path

from daemon.config.loading import load_config_file
from daemon.config.presets import Presets
from daemon.errors import DaemonError
from daemon.paths import Roots
from daemon.samples.index import page_of_folder
from tests.hostile.ground import CANARY, UNLISTED, Ground

DEADLINE_S = 60.0


def test_a_folder_that_becomes_a_link_after_the_check_leads_nowhere(tmp_path: Path) -> None:
    """The same is read without the roots, to see that there was something to fall for."""
    ground = Ground(tmp_path)
    roots = Roots([ground.inside], ground.inside)
    read = fallen_for = 0
    with ground.flipping():
        end = time.monotonic() + DEADLINE_S
        while (read < 500 or fallen_for < 3) and time.monotonic() < end:
            try:
                path = roots.resolve("swap/canary.json")
            except DaemonError:
                continue
            read += is_harmless(path, roots)
            fallen_for += not is_harmless(path, None)
    assert read >= 500
    assert fallen_for >= 1


def test_a_list_of_a_folder_that_becomes_a_link_tells_no_name_from_outside(tmp_path: Path) -> None:
    ground = Ground(tmp_path)
    roots = Roots([ground.inside], ground.inside)
    listed = fallen_for = 0
    with ground.flipping():
        end = time.monotonic() + DEADLINE_S
        while (listed < 1000 or fallen_for < 3) and time.monotonic() < end:
            try:
                folder = roots.resolve("swap")
            except DaemonError:
                continue
            names = names_in(folder, roots, tmp_path)
            assert not [name for name in names if UNLISTED in name]
            listed += bool(names)
            fallen_for += any(UNLISTED in name for name in names_in(folder, None, tmp_path))
    assert listed >= 1000
    assert fallen_for >= 1


def names_in(folder: Path, roots: Roots | None, tmp_path: Path) -> list[str]:
    try:
        presets = [info.name for info in Presets(tmp_path / "presets", tmp_path / "builtin", roots=roots).list(folder)]
    except DaemonError:
        presets = []
    return presets + [sample.filename for sample in page_of_folder(folder, 10, roots=roots).samples]


def is_harmless(path: Path, roots: Roots | None) -> bool:
    """Whether what was read, or refused, is not what lies outside; with the roots it must be."""
    try:
        word = load_config_file(path, roots)["word"]
    except DaemonError:
        return True
    assert roots is None or word != CANARY
    return bool(word != CANARY)
