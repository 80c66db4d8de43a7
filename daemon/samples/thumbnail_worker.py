"""The process that makes thumbnails: Pillow, and whatever a hostile picture does to it, stay out of the daemon.

It is handed open files over its socket and opens nothing itself. It ends when the daemon does, or when nobody has wanted one for a minute.
"""

import json
import resource
import socket
import sys
import warnings

IDLE_S = 60.0
MOST_PIXELS = 64 << 20
MEMORY_BYTES = 1536 << 20
"""Of address space: a picture of MOST_PIXELS takes 256 MB, and its palette or alpha form as much again."""
QUALITY = 80
_MESSAGE_BYTES = 256
OK = "ok"


def main(fd: int) -> int:
    """Serve requests `{"size", "format"}` with two descriptors, the picture's and that of an empty file to write; the answer is OK, or
    what is wrong with the picture."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    warnings.simplefilter("ignore")
    with socket.socket(fileno=fd) as daemon:
        daemon.settimeout(IDLE_S)
        while True:
            try:
                request, fds, _, _ = socket.recv_fds(daemon, _MESSAGE_BYTES, 2)
            except TimeoutError:
                return 0
            if not request or len(fds) != 2:
                return 0
            daemon.send(_answer(request, *fds).encode("utf-8", "replace")[:_MESSAGE_BYTES])


def _answer(request: bytes, source: int, target: int) -> str:
    with open(source, "rb") as picture, open(target, "wb") as thumbnail:
        wanted = json.loads(request)
        try:
            _make(picture, thumbnail, int(wanted["size"]), str(wanted["format"]))
        except MemoryError:
            return "it takes too much memory to decode"
        except Exception as error:  # noqa: BLE001 - Pillow raises anything on a broken file: ValueError, SyntaxError, struct.error, …
            return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
        return OK


def _make(source: object, target: object, size: int, form: str) -> None:
    from PIL import Image, ImageOps  # noqa: PLC0415 - after the limits, and only here

    Image.MAX_IMAGE_PIXELS = MOST_PIXELS
    with Image.open(source, formats=("PNG", "JPEG", "WEBP", "GIF")) as image:  # type: ignore[arg-type]  # a binary file
        if image.width * image.height > MOST_PIXELS:
            raise ValueError(f"{image.width} x {image.height} pixels are too many")
        image.draft("RGB", (size, size))  # a JPEG is decoded at a fraction of its size
        image.thumbnail((size, size), Image.Resampling.LANCZOS)
        upright = ImageOps.exif_transpose(image)
        has_alpha = upright.mode in {"RGBA", "LA", "PA"} or "transparency" in upright.info
        if form == "jpeg" and has_alpha:
            below = Image.new("RGBA", upright.size, (255, 255, 255, 255))
            upright = Image.alpha_composite(below, upright.convert("RGBA"))
        upright.convert("RGBA" if has_alpha and form == "webp" else "RGB").save(target, form.upper(), quality=QUALITY)  # type: ignore[arg-type]


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1])))
