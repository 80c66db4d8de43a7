"""What a storm has shown: numbers against their bars. Knows no storm."""

import json
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path


class SkipError(Exception):
    """This machine cannot have the storm; the message says why."""


@dataclass
class Report:
    """One storm's. *is_timed*: bars in milliseconds are checked; without, they are only shown (a busy machine misses them)."""

    name: str
    bar: str
    seed: int
    scale: float
    is_timed: bool
    rows: list[tuple[str, str]] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    skipped: str | None = None
    took_s: float = 0.0

    def show(self, what: str, value: object) -> None:
        """A number without a bar."""
        self.rows.append((what, str(value)))

    def exactly(self, what: str, value: object, expected: object) -> None:
        self.show(what, value)
        if value != expected:
            self.failures.append(f"{what}: {value!r}, not {expected!r}")

    def at_most(self, what: str, value: float, limit: float, unit: str = "") -> None:
        self.show(what, f"{value:g}{unit} (bar {limit:g}{unit})")
        if value > limit:
            self.failures.append(f"{what}: {value:g}{unit} is more than {limit:g}{unit}")

    def seconds(self, what: str, values: Sequence[float], quantile: float | None = None, at_most_s: float = math.inf) -> None:
        """Quantiles of *values*; the one named must not be above *at_most_s* where bars are timed."""
        if not values:
            self.failures.append(f"{what}: nothing was measured")
            return
        shown = " / ".join(f"{at(values, q) * 1000:.0f}" for q in (0.5, 0.9, 0.99, 1.0))
        self.show(f"{what}, ms p50/p90/p99/max", f"{shown} (n={len(values)})" + (f" bar {at_most_s * 1000:g}" if quantile else ""))
        if quantile is not None and self.is_timed and at(values, quantile) > at_most_s:
            self.failures.append(f"{what}: p{quantile * 100:g} is {at(values, quantile):.3f} s, more than {at_most_s:g} s")

    def fail(self, message: str) -> None:
        self.failures.append(message)

    @property
    def verdict(self) -> str:
        return "skipped" if self.skipped else "FAILED" if self.failures else "held"


def at(values: Sequence[float], quantile: float) -> float:
    """The *quantile* of *values* by the nearest rank; 1.0 is the largest."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(quantile * len(ordered)) - 1)]


def as_markdown(reports: Sequence[Report]) -> str:
    lines = [
        f"Seed {reports[0].seed}, scale {reports[0].scale:g}: repeat with `TORTURE_SEED={reports[0].seed} make torture`.", "",
        "| storm | bar | seen | verdict | took |", "|---|---|---|---|---|",
    ]  # fmt: skip
    for report in reports:
        rows = Counter(report.rows)  # a storm of several rounds says the same of each
        seen = "<br>".join(f"{what}: {value}" + (f" ({count} times)" if count > 1 else "") for (what, value), count in rows.items())
        verdict = "<br>".join([f"**{report.verdict}**", *(failure.replace("|", "\\|") for failure in report.failures[:5])])
        lines.append(f"| {report.name} | {report.bar} | {seen or report.skipped} | {verdict} | {report.took_s:.0f} s |")
    return "\n".join(lines) + "\n"


def write(reports: Sequence[Report], path: Path) -> None:
    """`<path>.md` and `<path>.json`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.with_suffix(".md").write_text(as_markdown(reports))
    fields = [{**vars(report), "verdict": report.verdict} for report in reports]
    path.with_suffix(".json").write_text(json.dumps(fields, indent=1, default=str) + "\n")
