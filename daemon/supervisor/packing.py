"""The packed runner: `ipc` and `trainer_runner` in one .pyz, so that an upgrade of the daemon changes nothing under a live run."""

import hashlib
import importlib.util
import io
import zipfile
from pathlib import Path

from ipc import __version__
from ipc.atomic import replace_file

_PACKAGES = ("ipc", "trainer_runner")
_EPOCH = (1980, 1, 1, 0, 0, 0)


def pack_runner(folder: Path) -> Path:
    """Put `runner-<version>-<hash of its sources>.pyz` into *folder* unless it is there, and return its path.

    The packages are found, not imported: the daemon never imports `trainer_runner`.
    """
    sources = {name: file.read_bytes() for package in _PACKAGES for name, file in _sources(package)}
    digest = hashlib.sha256(b"".join(name.encode() + b"\0" + data + b"\0" for name, data in sources.items())).hexdigest()[:12]
    target = folder / f"runner-{__version__}-{digest}.pyz"
    folder.mkdir(parents=True, exist_ok=True)
    archive = _archive(sources)
    if not target.is_file() or target.read_bytes() != archive:  # a cut copy would be trusted by its name
        replace_file(target, archive)
    return target


def remove_unused(folder: Path, used: set[Path]) -> list[Path]:
    """Remove the packed runners in *folder* that are not in *used*; returns what was removed."""
    gone = [path for path in folder.glob("runner-*.pyz") if path not in used]
    for path in gone:
        path.unlink(missing_ok=True)
    return gone


def _sources(package: str) -> list[tuple[str, Path]]:
    spec = importlib.util.find_spec(package)
    assert spec is not None
    assert spec.origin is not None
    root = Path(spec.origin).parent
    return sorted((f"{package}/{path.relative_to(root)}", path) for path in root.rglob("*.py"))


def _archive(sources: dict[str, bytes]) -> bytes:
    """Stored, not deflated: the runner then needs no zlib. With fixed times, so that the same sources give the same bytes.

    In memory: a daemon whose disk is full, and whose archive is there, must start.
    """
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        main = b"import sys\nfrom trainer_runner.__main__ import main\nsys.exit(main())\n"
        for name, data in {"__main__.py": main, **sources}.items():
            archive.writestr(zipfile.ZipInfo(name, _EPOCH), data)
    return buffer.getvalue()
