"""A runner that dies at one of its points: `faulty_runner.py PLAN ARCHIVE runner ATTEMPT`, for the daemon's `ARCHIVE runner ATTEMPT`."""

import json
import runpy
import sys
from pathlib import Path

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parent))
    from faulty_daemon import Faults  # type: ignore[import-not-found]  # beside us: a runner sees no other folder

    plan = json.loads(Path(sys.argv[1]).read_text())
    sys.argv = sys.argv[2:]
    Faults(plan).arm()
    runpy.run_path(sys.argv[0], run_name="__main__")
