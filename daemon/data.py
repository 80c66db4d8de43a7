"""Where the files lie that are shipped with the daemon but are no Python: `configs/` and `systemd/`."""

from pathlib import Path

from daemon.errors import UnavailableError


def data_folder(name: str) -> Path:
    """The shipped folder *name*: `daemon/_data/<name>` in an installed wheel, `<repository>/<name>` in a checkout.

    The wheel is installed as files, never as a zip (pip and uv do no other), so that a plain path is right.

    Raises:
        UnavailableError: it is in neither: the installation is broken.
    """
    package = Path(__file__).resolve().parent
    places = (package / "_data" / name, package.parent / name)
    for place in places:
        if place.is_dir():
            return place
    raise UnavailableError(f"the shipped folder {name!r} is missing (looked at {places[0]} and {places[1]}); install onetrainerd again")
