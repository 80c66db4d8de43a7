"""Numbers and switches with which a training does nothing, or fails at its first step. OneTrainer's types allow any number."""

from collections.abc import Iterator

from daemon.config.findings import Finding
from daemon.config.rules.view import View

_AT_LEAST_ONE = ("epochs", "batch_size", "gradient_accumulation_steps", "dataloader_threads")


def at_least_one(view: View) -> Iterator[Finding]:
    keys = [*_AT_LEAST_ONE, *(["lora_rank"] if view.text("training_method") == "LORA" else [])]
    for key in keys:
        number = view.integer(key)
        if number is not None and number < 1:
            yield Finding("error", f"/{key}", f"{number} is not in the range; allowed: integer from 1")


def only_cache(view: View) -> Iterator[Finding]:
    if view.is_on("only_cache"):
        yield Finding("warning", "/only_cache", "it is on: the data are cached, and nothing is trained")


def cloud(view: View) -> Iterator[Finding]:
    if view.is_on("cloud", "enabled"):
        yield Finding("warning", "/cloud/enabled", "it will be switched off: onetrainerd trains on its own machine")
