"""Train the digits preset for real and let a classifier read what the model draws.

    python bench/digits_quality.py --grid digits.png

The classifier is fitted on the real digits alone. Prints one JSON object: steps, seconds, steps per second, peak memory, and the
part of 500 drawn digits that the classifier reads as what was asked for.
"""

import argparse
import json
import os
import resource
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from sklearn.svm import SVC

from daemon.demo.digits import WORDS, write_digits
from trainer_runner.backends.builtin import BuiltinBackend
from trainer_runner.backends.builtin.model import FlowModel, parameter_count
from trainer_runner.backends.builtin.sampling import draw
from trainer_runner.backends.builtin.saves import read_model
from trainer_runner.trainer.session import Session

PRESET = Path(__file__).resolve().parent.parent / "configs" / "presets" / "digits.json"
PER_DIGIT = 50


class CountingChannel:
    """Stands where the pipe to the runner is."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()

    def emit(self, kind: str, fields: "dict[str, Any]") -> None:
        self.counts[kind] += 1
        if kind in ("error", "log"):
            print(kind, fields["message"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--grid", type=Path, help="write the drawn digits here, a row for each digit")
    parser.add_argument("--folder", type=Path, help="work here instead of in a temporary folder")
    parser.add_argument("--epochs", type=int, help="instead of the preset's")
    arguments = parser.parse_args()
    grid = arguments.grid.absolute() if arguments.grid else None
    with tempfile.TemporaryDirectory() as temporary:
        folder = (arguments.folder or Path(temporary)).absolute()
        folder.mkdir(parents=True, exist_ok=True)
        os.chdir(folder)
        write_digits(Path("digits/images"))
        config = json.loads(PRESET.read_text())
        config["epochs"] = arguments.epochs or config["epochs"]
        channel = CountingChannel()
        began = time.monotonic()
        outcome = BuiltinBackend().run(Session(channel, config, secrets={}))  # type: ignore[arg-type]  # has what a session needs
        seconds = time.monotonic() - began
        assert outcome.model_path is not None, outcome
        model = read_model(outcome.model_path)
        images, asked = drawn(model)
        read = classifier(Path("digits/images")).predict(images.flatten(1).numpy())
    if grid:
        write_grid(grid, images)
    print(json.dumps({
        "outcome": outcome.kind, "steps": outcome.global_step, "seconds": round(seconds, 1),
        "steps_per_second": round(outcome.global_step / seconds, 1), "parameters": parameter_count(model),
        "samples": channel.counts["sample"], "backups": channel.counts["backup"],
        "peak_rss_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
        "read_right": float((read == asked).mean()),
        "wrong": [f"{WORDS[a]} as {WORDS[r]}" for a, r in zip(asked, read, strict=True) if a != r],
    }, indent=2))  # fmt: skip


def drawn(model: FlowModel) -> "tuple[torch.Tensor, Any]":
    asked = np.repeat(np.arange(10), PER_DIGIT)
    prompts = [f"a handwritten {WORDS[digit]}" for digit in asked]
    return draw(model, prompts, range(1000, 1000 + len(asked)), steps=20, cfg_scale=2.0), asked


def classifier(folder: Path) -> Any:
    files = sorted(folder.glob("*.png"))
    pixels = np.stack([np.asarray(Image.open(file), dtype=np.float32).ravel() / 127.5 - 1 for file in files])
    return SVC(C=10).fit(pixels, [int(file.stem.split("-")[1]) for file in files])


def write_grid(path: Path, images: torch.Tensor, scale: int = 3) -> None:
    shades = ((images[:, 0] + 1) * 127.5).round().to(torch.uint8)
    framed = torch.nn.functional.pad(shades, (1, 1, 1, 1), value=64)
    side = framed.shape[-1]
    rows = framed.reshape(10, PER_DIGIT, side, side)[:, :25]
    pixels = rows.permute(0, 2, 1, 3).reshape(10 * side, -1).numpy()
    picture = Image.fromarray(pixels)
    picture.resize((picture.width * scale, picture.height * scale), Image.Resampling.NEAREST).save(path)


if __name__ == "__main__":
    main()
