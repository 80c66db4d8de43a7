"""The operator's page, the alert rules and the metrics tell of the same things."""

import re
from pathlib import Path
from typing import Any

import yaml

from daemon.telemetry import page
from daemon.telemetry.families import GROUPS

DOCS = Path(__file__).parents[2] / "docs"
PAGE = (DOCS / "operating.md").read_text()
SHOWN = {family.shown for _, families in GROUPS for family in families}


def rules() -> list[dict[str, Any]]:
    [group] = yaml.safe_load((DOCS / "prometheus-alerts.yml").read_text())["groups"]
    found: list[dict[str, Any]] = group["rules"]
    return found


def test_every_metric_is_in_the_page_as_it_is_told() -> None:
    assert page.with_table(PAGE) == PAGE, "the metrics have changed: run `make settings` and commit what it writes"
    assert set(re.findall(r"^\| `((?:onetrainerd|process)_\w+)`", PAGE, re.MULTILINE)) == SHOWN


def test_every_alert_asks_for_metrics_that_there_are() -> None:
    asked = {name for rule in rules() for name in re.findall(r"\b(?:onetrainerd|process)_\w+", rule["expr"])}
    assert asked <= SHOWN
    assert len(asked) > 15


def test_every_alert_is_explained_with_what_to_do() -> None:
    explained = dict(re.findall(r"^\| `([A-Z]\w+)` \| [^|]+ \| ([^|]+) \|$", PAGE, re.MULTILINE))
    assert list(explained) == [rule["alert"] for rule in rules()]
    assert all(len(what_to_do) > 10 for what_to_do in explained.values())


def test_every_setting_that_the_page_names_is_one() -> None:
    settings = (DOCS / "settings.md").read_text()
    sections = set(re.findall(r"^## `\[(\w+)\]`", settings, re.MULTILINE))
    named = set(re.findall(rf"`((?:{'|'.join(sections)})\.\w+)`", PAGE))
    assert len(named) >= 8
    for name in named:
        assert f"ONETRAINERD_{name.upper().replace('.', '__')}`" in settings, name
