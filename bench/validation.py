"""How long fast validation takes, by the built-in trainer's catalog and, with ONETRAINER_HOME and ONETRAINER_PYTHON, by OneTrainer's."""

import json
import os
import statistics
import subprocess
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from daemon.catalog.keeper import builtin
from daemon.config.described import Described
from daemon.config.validation import Validator
from daemon.paths import Roots
from daemon.supervisor.packing import pack_runner

ROUNDS = 30


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        print(f"{'config':<52} {'kB':>6} {'median ms':>10} {'slowest ms':>11}")
        _table("built-in trainer", builtin(), Path(folder))
        home, python = os.environ.get("ONETRAINER_HOME"), os.environ.get("ONETRAINER_PYTHON")
        if home and python:
            archive = pack_runner(Path(folder) / "runtime")
            command = [python, str(archive), "catalog", "onetrainer", "describe"]
            begun = time.perf_counter()
            done = subprocess.run(command, cwd=home, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=True)
            print(f"OneTrainer described itself in {time.perf_counter() - begun:.1f} s, {len(done.stdout) / 1000:.0f} kB")
            _table("OneTrainer", Described.from_json(json.loads(done.stdout)), Path(folder))


def _table(name: str, described: Described, folder: Path) -> None:
    validator = Validator(lambda: described, Roots([folder], folder))
    begun = time.perf_counter()
    validator.validate({})
    print(f"{f'{name}: the first of all, which compiles the schema':<52} {'':>6} {(time.perf_counter() - begun) * 1000:>10.1f}")
    for kind, config in _configs(described, folder).items():
        taken = []
        for _ in range(ROUNDS):
            begun = time.perf_counter()
            validator.validate(config)
            taken.append((time.perf_counter() - begun) * 1000)
        size = len(json.dumps(config)) / 1000
        print(f"{f'{name}: {kind}':<52} {size:>6.1f} {statistics.median(taken):>10.1f} {max(taken):>11.1f}")


def _configs(described: Described, folder: Path) -> Mapping[str, Mapping[str, Any]]:
    whole = {key: value for key, value in described.defaults.items() if key != "secrets"}
    kept = {"optimizer_defaults": {name: {**whole["optimizer"], "optimizer": name} for name in described.optimizers}}
    concepts = [{"path": str(folder), "name": str(number)} for number in range(100)]
    return {
        "empty": {},
        "whole": whole,
        "whole, every optimizer kept": {**whole, **(kept if "optimizer_defaults" in whole else {})},
        "whole, 100 concepts": {**whole, "concepts": concepts},
        "whole, 100 unknown keys": {**whole, **{f"learning_rat{number}": 1 for number in range(100)}},
        "everything wrong": {key: [{"x": []}] for key in whole},
    }


if __name__ == "__main__":
    main()
