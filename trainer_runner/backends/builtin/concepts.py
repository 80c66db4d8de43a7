"""Concept folders: images with captions beside them, read once into memory; and the order in which an epoch goes through them."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor

from trainer_runner.backends.builtin.config import ConceptConfig, TrainConfig
from trainer_runner.backends.builtin.seeds import generator

IMAGE_SUFFIXES = frozenset({".bmp", ".jpg", ".jpeg", ".png", ".tif", ".tiff", ".webp", ".avif"})
_READ_AT_ONCE = 256


class Share(NamedTuple):
    """The images of one concept, *begin* to *end*, and how many of them an epoch takes."""

    begin: int
    end: int
    per_epoch: int


class Dataset(NamedTuple):
    """*images*: (count, 1 or 3, side, side) uint8. *captions*: one per image."""

    images: Tensor
    captions: "list[str]"
    shares: "list[Share]"

    def __len__(self) -> int:
        """Images in an epoch."""
        return sum(share.per_epoch for share in self.shares)

    def order(self, seed: int, epoch: int) -> Tensor:
        """The images of *epoch* by index, shuffled; the same for the same seed and epoch, whatever came before."""
        random = generator(seed, "order", epoch)
        parts: list[Tensor] = []
        for share in self.shares:
            count = share.end - share.begin
            whole, rest = divmod(share.per_epoch, count)
            parts.extend([torch.arange(share.begin, share.end)] * whole)
            parts.append(torch.randperm(count, generator=random)[:rest] + share.begin)
        chosen = torch.cat(parts) if parts else torch.empty(0, dtype=torch.long)
        return chosen[torch.randperm(len(chosen), generator=random)]


def load_dataset(config: TrainConfig, channels: "int | None", warn: "Callable[[str], None]", should_stop: "Callable[[], bool]") -> Dataset:
    """Read all images of the config's concepts; with *should_stop*, what was read until then.

    *channels*: 1 or 3; None: 1 when every image is gray, else 3. An image that cannot be read is left out with a warning.

    Raises:
        FileNotFoundError, NotADirectoryError: a concept's folder is not there.
    """
    pixels: list[Tensor] = []
    captions: list[str] = []
    shares: list[Share] = []
    for index, concept in enumerate(config.concepts or ()):
        if not concept.enabled or concept.type != "STANDARD":
            continue
        begin = len(pixels)
        with ThreadPoolExecutor(config.dataloader_threads, thread_name_prefix="images") as pool:
            for chunk in _chunks(_image_files(concept, index)):
                if should_stop():
                    break
                for path, image in zip(chunk, pool.map(lambda path: _read_image(path, config.resolution), chunk), strict=True):
                    if isinstance(image, Tensor):
                        pixels.append(image)
                        captions.append(_read_caption(path))
                    else:
                        warn(f"{path} is left out: {image}")
        count = len(pixels) - begin
        per_epoch = round(count * concept.balancing if concept.balancing_strategy == "REPEATS" else concept.balancing)
        if count and per_epoch:
            shares.append(Share(begin, len(pixels), per_epoch))
    images = torch.stack(pixels) if pixels else torch.empty((0, 3, config.resolution, config.resolution), dtype=torch.uint8)
    return Dataset(_in_channels(images, channels), captions, shares)


def _image_files(concept: ConceptConfig, index: int) -> "list[Path]":
    folder = Path(concept.path)
    if not folder.is_dir():
        kind = NotADirectoryError if folder.exists() else FileNotFoundError
        raise kind(f"concepts[{index}].path: there is no folder {str(folder.absolute())!r}")
    found = folder.rglob("*") if concept.include_subdirectories else folder.iterdir()
    named = (path for path in found if path.suffix.lower() in IMAGE_SUFFIXES and not path.name.startswith("."))
    return sorted(path for path in named if path.is_file())  # a FIFO, or a link to a device, would be read for ever


def _chunks(paths: "list[Path]") -> "Iterator[list[Path]]":
    for start in range(0, len(paths), _READ_AT_ONCE):
        yield paths[start : start + _READ_AT_ONCE]


def _read_image(path: Path, side: int) -> "Tensor | Exception":
    """(3, side, side) uint8, cut to a square around the middle."""
    try:
        with Image.open(path) as image:
            upright = ImageOps.exif_transpose(image).convert("RGB")
            fitted = ImageOps.fit(upright, (side, side), Image.Resampling.LANCZOS)
        return torch.from_numpy(np.array(fitted)).permute(2, 0, 1).contiguous()
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        return error  # one broken file of a hundred thousand must not end a training


def _read_caption(image: Path) -> str:
    """The first line of the caption file that is not empty; an image without a caption has the empty one."""
    caption = image.with_suffix(".txt")
    if not caption.is_file():
        return ""
    text = caption.read_text(encoding="utf-8", errors="replace")
    return next((line.strip() for line in text.splitlines() if line.strip()), "")


def _in_channels(images: Tensor, channels: "int | None") -> Tensor:
    if channels is None:
        is_gray = bool((images[:, :1] == images).all()) and len(images) > 0
        channels = 1 if is_gray else 3
    if channels == 3:
        return images
    return images.float().mean(dim=1, keepdim=True).round().to(torch.uint8)
