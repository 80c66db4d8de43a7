"""What being supervised costs a training: steps per second under the runner, against the same trainer alone, side by side.

Both train the same tiny config (the cheapest steps that there are, so that the cost shows); they take turns, so that a noisy machine
hits both. Prints a table; the ratio is what counts.
"""

import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from PIL import Image

from daemon.supervisor.packing import pack_runner
from ipc.atomic import replace_json
from ipc.journal import JournalReader
from ipc.run_directory import AttemptDirectory, RunDirectory

ROUNDS = 3
STEPS = 600
ALONE = """
import json, sys, time
from pathlib import Path
from trainer_runner.backends.builtin import BuiltinBackend
from trainer_runner.trainer.session import Session

class Times:
    def __init__(self): self.steps = []
    def emit(self, kind, fields):
        if kind == "step": self.steps.append(time.time())

times = Times()
BuiltinBackend().run(Session(times, json.loads(Path(sys.argv[1]).read_text()), secrets={}))
print(json.dumps(times.steps))
"""


def config_in(folder: Path) -> dict[str, object]:
    images = folder / "images"
    images.mkdir()
    for number in range(16):
        Image.new("L", (16, 16), 16 * number).save(images / f"{number}.png")
        (images / f"{number}.txt").write_text("a square")
    return {
        "model_type": "BUILTIN", "workspace_dir": str(folder / "workspace"), "output_model_destination": str(folder / "m.safetensors"),
        "resolution": "16", "train_device": "cpu", "concepts": [{"name": "c", "path": str(images), "enabled": True}], "batch_size": 2,
        "epochs": STEPS // 8, "sample_after_unit": "NEVER", "backup_after_unit": "NEVER", "save_every_unit": "NEVER", "tensorboard": False,
    }  # fmt: skip


def alone(folder: Path) -> list[float]:
    path = folder / "config.json"
    path.write_text(json.dumps(config_in(folder)))
    result = subprocess.run([sys.executable, "-c", ALONE, str(path)], capture_output=True, text=True, check=True)
    times: list[float] = json.loads(result.stdout.splitlines()[-1])
    return times


def supervised(folder: Path) -> list[float]:
    archive = pack_runner(folder / "runtime")
    run = RunDirectory(folder / "000001-abcd")
    attempt = run.attempt(1)
    attempt.create()
    run.tmp.mkdir()
    replace_json(run.config, config_in(folder))
    replace_json(attempt.launch, {
        "v": 1, "run_id": run.run_id, "attempt": 1, "backend": "builtin", "argv": [sys.executable, str(archive), "trainer"],
        "cwd": str(folder), "env": {"PATH": "/usr/bin:/bin", "TMPDIR": str(run.tmp)}, "continue_from": None,
        "stop": {"grace_s": 60, "term_s": 60}, "console": {"max_bytes": 1 << 20},
    })  # fmt: skip
    subprocess.run([sys.executable, "-I", "-S", str(archive), "runner", str(attempt.path)], check=True)
    return _times_of(attempt)


def _times_of(attempt: AttemptDirectory) -> list[float]:
    reader = JournalReader(attempt.events)
    times: list[float] = []
    while True:
        for record in reader.read():
            if record["type"] in ("step", "steps"):
                times += [row["ts"] for row in record.get("rows", [record])]
            elif record["type"] == "runner.exited":
                reader.close()
                return times
        time.sleep(0.05)


def speed(times: list[float]) -> float:
    """Steps per second, without the first fifty."""
    return (len(times) - 50) / (times[-1] - times[50])


def main() -> None:
    found: dict[str, list[float]] = {"alone": [], "under the runner": []}
    for _ in range(ROUNDS):
        for name, measure in (("alone", alone), ("under the runner", supervised)):
            with tempfile.TemporaryDirectory() as folder:
                found[name].append(speed(measure(Path(folder))))
    print("| trainer | steps/s, median of three rounds | to alone |\n|---|---|---|")
    base = statistics.median(found["alone"])
    for name, speeds in found.items():
        median = statistics.median(speeds)
        print(f"| {name} | {median:.1f} | {median / base:.3f} |")


if __name__ == "__main__":
    main()
