"""`python -m tests.torture [STORM …]`: the storms in full, and their report. Exit code 1 when a bar was not held.

TORTURE_SCALE (1.0), TORTURE_SEED (of the day), TORTURE_REPORT (a path without suffix: .md and .json are written), or the flags.
"""

import argparse
import asyncio
import os
import shutil
import sys
import tempfile
import time
from pathlib import Path

from tests.torture.report import Report, as_markdown, write
from tests.torture.storms import STORMS, run_storm


def main() -> int:
    options = _parse()
    chosen = [storm for storm in STORMS if not options.storms or storm.name in options.storms]
    reports: list[Report] = []
    folder = Path(tempfile.mkdtemp(prefix="torture-"))
    for storm in chosen:
        report = asyncio.run(run_storm(storm, folder, options.scale, options.seed, is_timed=not options.untimed))
        reports.append(report)
        sys.stderr.write(f"{report.name}: {report.verdict} after {report.took_s:.0f} s {'; '.join(report.failures)}\n")
        if options.report:
            write(reports, options.report)
        if not report.failures:
            shutil.rmtree(folder / storm.name, ignore_errors=True)
    sys.stdout.write(as_markdown(reports))
    failed = any(report.failures for report in reports)
    if failed:
        sys.stdout.write(f"what is left of the storms that failed: {folder}\n")
    else:
        shutil.rmtree(folder, ignore_errors=True)
    return int(failed)


def _parse() -> argparse.Namespace:
    environ = os.environ
    parser = argparse.ArgumentParser(prog="torture", description=__doc__)
    parser.add_argument("storms", nargs="*", metavar="STORM", help=", ".join(storm.name for storm in STORMS))
    parser.add_argument("--scale", type=float, default=float(environ.get("TORTURE_SCALE") or 1.0))
    parser.add_argument("--seed", type=int, default=int(environ.get("TORTURE_SEED") or time.strftime("%Y%m%d")))
    parser.add_argument("--report", type=Path, default=Path(environ["TORTURE_REPORT"]) if environ.get("TORTURE_REPORT") else None)
    parser.add_argument("--untimed", action="store_true", help="show times, and hold nobody to them")
    options = parser.parse_args()
    unknown = set(options.storms) - {storm.name for storm in STORMS}
    if unknown:
        parser.error(f"no storm is called {', '.join(sorted(unknown))}")
    return options


if __name__ == "__main__":
    sys.exit(main())
