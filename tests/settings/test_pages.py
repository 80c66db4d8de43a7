"""The pages that say what every setting does come from the model, and are current."""

from pathlib import Path

from daemon.settings import pages
from daemon.settings.model import Settings

REPOSITORY = Path(__file__).parents[2]


def test_the_committed_pages_are_what_the_model_says_now() -> None:
    again = "the settings have changed: run `make settings` and commit what it writes"
    assert (REPOSITORY / "configs" / "onetrainerd.toml").read_text() == pages.toml(), again
    assert (REPOSITORY / "docs" / "settings.md").read_text() == pages.page(), again


def test_every_setting_says_what_it_does() -> None:
    entries = [entry for _, _, found in pages.sections() for entry in found]
    assert [entry.key for entry in entries if not entry.field.description] == []
    assert {entry.key.partition(".")[0] for entry in entries} == set(Settings.model_fields)
