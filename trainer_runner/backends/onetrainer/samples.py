"""Samples tied to the files that they made. OneTrainer's own callback gives the picture, but neither path nor prompt nor index."""

import re
from pathlib import Path
from typing import Any

from trainer_runner.backends.onetrainer.callbacks import Callbacks
from trainer_runner.backends.onetrainer.commands import COMMAND_ID, SAMPLE_DEFAULT, Orders
from trainer_runner.backends.onetrainer.printed import Printed
from trainer_runner.trainer.session import Session

_FOLDER = re.compile(r"(\d+) - ")  # `samples/<index> - <prompt>/`: GenericTrainer.__sample_loop


class Samples:
    """The sampler of a trainer, wrapped on the object. Lives on the training thread.

    A round is one pass over the config's samples; it is over when OneTrainer turns to something else.
    """

    def __init__(self, session: Session, orders: Orders, callbacks: Callbacks, printed: Printed) -> None:
        self._session = session
        self._orders = orders
        self._callbacks = callbacks
        self._printed = printed
        self._made: list[str] = []
        self._failed: list[str] = []
        self._is_custom = False

    def tap(self, sampler: Any) -> None:
        """Wrap `sample` of OneTrainer's sampler on this one object."""
        original = sampler.sample

        def sample(sample_config: Any, destination: str, *args: Any, **kwargs: Any) -> Any:
            command_id: str | None = getattr(sample_config, COMMAND_ID, None)
            self._is_custom = self._is_custom or command_id is not None
            try:
                result = original(sample_config, destination, *args, **kwargs)
                path = _written(Path(destination).absolute())
            except Exception as error:
                self._tell_failure(command_id, str(sample_config.prompt), error)
                raise
            self._tell(command_id, sample_config, path)
            return result

        sampler.sample = sample

    def settle(self) -> None:
        """A round is over: answer the commands for default samples that it was for. One that made nothing has failed."""
        made, failed, is_custom = self._made, self._failed, self._is_custom
        self._made, self._failed, self._is_custom = [], [], False
        printed = self._printed.take()
        if is_custom:
            return
        if failed:
            self._orders.answer(SAMPLE_DEFAULT, None, "; ".join(failed))
        elif made:
            self._orders.answer(SAMPLE_DEFAULT, {"paths": made})
        else:
            why = f"{type(printed).__name__}: {printed}" if printed else "no sample is enabled in the config"
            self._orders.answer(SAMPLE_DEFAULT, None, why)

    def _tell(self, command_id: "str | None", sample_config: Any, path: Path) -> None:
        is_custom = path.parent.name == "custom"
        index = _FOLDER.match(path.parent.name)
        self._session.sample(
            path, kind="custom" if is_custom else "default", prompt=str(sample_config.prompt),
            seed=None if sample_config.random_seed else int(sample_config.seed), index=int(index[1]) if index else 0,
            place=self._callbacks.place, command_id=command_id,
        )  # fmt: skip
        if command_id is not None:
            self._orders.answer_custom(command_id, {"paths": [str(path)]})
        elif not is_custom:
            self._made.append(str(path))

    def _tell_failure(self, command_id: "str | None", prompt: str, error: Exception) -> None:
        self._session.error("sample", error)
        why = f"sampling {prompt!r} failed: {type(error).__name__}: {error}"
        if command_id is not None:
            self._orders.answer_custom(command_id, None, why)
        else:
            self._failed.append(why)


def _written(destination: Path) -> Path:
    """The file that was made for *destination*, which newer versions give without its extension. Raises FileNotFoundError."""
    if destination.is_file():
        return destination
    folder = destination.parent
    made = sorted(path for path in folder.iterdir() if path.name.startswith(f"{destination.name}.")) if folder.is_dir() else []
    if not made:
        raise FileNotFoundError(f"OneTrainer's sampler came back and left no file {destination}.*")
    return made[0]
