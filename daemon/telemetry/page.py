"""Write the table of all metrics into `docs/operating.md`: `make settings`. A test holds that it is current. Nothing imports this."""

import sys
from pathlib import Path

from daemon.telemetry.families import GROUPS

BEGIN, END = "<!-- metrics: made by `make settings` -->\n", "<!-- end of metrics -->\n"


def table() -> str:
    """All metrics, as Markdown."""
    parts = []
    for title, families in GROUPS:
        lines = [f"**{title}**\n", "| Metric | Kind | Labels | What it says |", "|---|---|---|---|"]
        for family in families:
            labels = ", ".join(f"`{label}`" for label in family.labels)
            lines.append(f"| `{family.shown}` | {family.kind} | {labels} | {family.help} |")
        parts.append("\n".join(lines) + "\n")
    return "\n".join(parts)


def with_table(page: str) -> str:
    """*page* with the table between its two marks. Raises ValueError when they are not there."""
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"the page has no {BEGIN.strip()} … {END.strip()}")
    return f"{before}{BEGIN}\n{table()}\n{END}{after}"


if __name__ == "__main__":
    path = Path(sys.argv[1])
    path.write_text(with_table(path.read_text(encoding="utf-8")), encoding="utf-8")
