"""Tiny real trainings: sixteen images, a channel that collects events and may answer them with commands."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from PIL import Image

from ipc.messages import Command
from trainer_runner.backends.builtin import BuiltinBackend
from trainer_runner.trainer.backend import Outcome
from trainer_runner.trainer.session import Session

COLOURS = {"black": 0, "dark": 80, "bright": 170, "white": 255}
Event = dict[str, Any]


def write_images(folder: Path, *, per_colour: int = 4, tint: bool = False, side: int = 8) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, value in COLOURS.items():
        for number in range(per_colour):
            image = Image.new("RGB", (side, side), (value, value, 255 - value if tint else value))
            image.putpixel((number, number), (128, 128, 128))
            image.save(folder / f"{name}-{number}.png")
            (folder / f"{name}-{number}.txt").write_text(f"a {name} square\n")


def config_for(folder: Path, **changes: Any) -> dict[str, Any]:
    """A config of twelve steps in *folder*: sixteen images, four steps an epoch, three epochs."""
    return {
        "workspace_dir": str(folder / "workspace"), "output_model_destination": str(folder / "model.safetensors"),
        "concepts": [{"path": str(folder / "images")}],
        "samples": [{"prompt": "a white square", "diffusion_steps": 2}, {"prompt": "a black square", "diffusion_steps": 2, "seed": 7}],
        "resolution": "8", "epochs": 3, "batch_size": 4, "learning_rate_warmup_steps": 2, "ema": "CPU", "non_ema_sampling": False,
        "sample_after_unit": "NEVER", "backup_after_unit": "NEVER", "backup_before_save": False, "tensorboard": False,
        **changes,
    }  # fmt: skip


class Run:
    """One training and what it said. *answers* are called with each event, on the training thread, as a reader thread would come in."""

    def __init__(self, config: dict[str, Any], *, continue_from: Path | None = None) -> None:
        self.events: list[Event] = []
        self.answers: list[Callable[[Event], None]] = []
        self.session = Session(self, config, secrets={}, continue_from=continue_from)  # type: ignore[arg-type]  # a channel is what emits
        self.outcome: Outcome | None = None

    def emit(self, kind: str, fields: dict[str, Any]) -> None:
        event = {"type": kind, **fields}
        self.events.append(event)
        for answer in list(self.answers):
            answer(event)

    def go(self) -> Outcome:
        self.outcome = BuiltinBackend().run(self.session)
        self.session.finished(self.outcome)
        return self.outcome

    def command(self, name: str, identifier: str = "", **args: Any) -> None:
        self.session.receive(Command(identifier or name, name, args))

    def at(self, kind: str, act: Callable[[], None], **fields: Any) -> None:
        """Call *act* at the first event of *kind* with *fields*."""
        done: list[bool] = []

        def answer(event: Event) -> None:
            if not done and event["type"] == kind and fields.items() <= event.items():
                done.append(True)
                act()

        self.answers.append(answer)

    def at_step(self, step: int, act: Callable[[], None]) -> None:
        self.at("step", act, global_step=step)

    def of(self, kind: str) -> list[Event]:
        return [event for event in self.events if event["type"] == kind]

    def answer_to(self, identifier: str) -> Event:
        (answer,) = [event for event in self.events if event["type"] in ("command.done", "command.failed") and event["id"] == identifier]
        return answer
