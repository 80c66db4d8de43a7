"""TensorBoard's event files, as OneTrainer writes them. A training never fails because of them."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from PIL import Image

_FLUSH_S = 10


class Scalars:
    """Writes to *folder*, or nowhere when it is None. The first error is told to *warn* and ends the writing, not the training."""

    def __init__(self, folder: "Path | None", warn: "Callable[[str], None]") -> None:
        self._warn = warn
        self._writer: Any = None
        if folder is None:
            return
        try:
            from torch.utils.tensorboard import SummaryWriter  # noqa: PLC0415 - a second to import, and not always wanted

            self._writer = SummaryWriter(str(folder), flush_secs=_FLUSH_S)
        except (ImportError, OSError) as error:
            warn(f"no TensorBoard files are written: {error}")

    def add(self, scalars: Mapping[str, float], step: int) -> None:
        """*step* counts from 0, as in OneTrainer's files."""
        self._attempt(lambda: [self._writer.add_scalar(tag, value, step) for tag, value in scalars.items()])

    def add_picture(self, tag: str, picture: Image.Image, step: int) -> None:
        import numpy as np  # noqa: PLC0415 - torch has loaded it by now

        self._attempt(lambda: self._writer.add_image(tag, np.asarray(picture), step, dataformats="HWC"))

    def close(self) -> None:
        if self._writer is not None:
            self._attempt(self._writer.close)

    def _attempt(self, write: "Callable[[], object]") -> None:
        if self._writer is None:
            return
        try:
            write()
        except Exception as error:  # noqa: BLE001 - its writer thread hands on whatever it met, mostly a full disk
            self._writer = None
            self._warn(f"TensorBoard's files are no longer written: {error}")
