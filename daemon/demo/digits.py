"""scikit-learn's handwritten digits as a concept folder: one 16x16 PNG and one caption per digit.

Called in a process of its own: scikit-learn is large, and the daemon stays small.
"""

import io
from pathlib import Path

from ipc.atomic import write_all

WORDS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
SIDE = 16


def write_digits(folder: Path) -> int:
    """Write the 1,797 digits into *folder* and return how many there are; those already there are left as they are.

    Each file appears whole under its name, and a picture only after its caption, so that an interrupted writing is completed
    by the next call and a trainer never reads half a file.

    Raises:
        ImportError: scikit-learn or Pillow is not installed.
        OSError: the folder cannot be written.
    """
    import numpy as np  # noqa: PLC0415 - heavy, and only for the demo
    from PIL import Image  # noqa: PLC0415 - likewise
    from sklearn.datasets import load_digits  # noqa: PLC0415 - likewise

    digits = load_digits()
    folder.mkdir(parents=True, exist_ok=True)
    present = {entry.name for entry in folder.iterdir()}
    for index, (image, label) in enumerate(zip(digits.images, digits.target, strict=True)):
        stem = f"{index:04d}-{int(label)}"
        if f"{stem}.png" in present:
            continue
        # The digits have 8x8 pixels of 0 to 16.
        pixels = Image.fromarray(np.rint(image * (255 / 16)).astype(np.uint8)).resize((SIDE, SIDE), Image.Resampling.BICUBIC)
        encoded = io.BytesIO()
        pixels.save(encoded, "PNG")
        _put(folder / f"{stem}.txt", f"a handwritten {WORDS[int(label)]}\n".encode())
        _put(folder / f"{stem}.png", encoded.getvalue())
    return len(digits.images)


def _put(path: Path, data: bytes) -> None:
    # A sync for each of 3,594 files would take a minute on a disk, and after a power cut they are simply written again.
    temporary = path.with_name(f".{path.name}.tmp")
    with temporary.open("wb", buffering=0) as file:
        write_all(file.fileno(), data)
    temporary.rename(path)
