"""Which values of a config name something on the disk, and what for. Pure: looks at keys alone.

As of OneTrainer 23df3832: TrainConfig.py, ConceptConfig.py, SampleConfig.py, CloudConfig.py, the keys that their migrations rename
(`vae_model_name`, `embedding_model_names`), and what mgds opens. Keys that are not there yet are judged by how they end.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum, auto
from typing import Any

Place = tuple[str | int, ...]

PRESET_KEY = "__preset"
"""In a run's config: a preset that the OneTrainer adapter lays under it; an object, or the path of a file."""

CONFIG_VALUES_KEY = "__config_values"
"""In a run's config: the values, key to text or JSON value, that the adapter sets last, after OneTrainer's migrations."""


class Kind(Enum):
    """What a trainer does with the value."""

    READ = auto()
    """Opens it as a file."""
    WRITTEN = auto()
    """Makes it, writes into it, and clears it: OneTrainer empties its caches and rotates its backups."""
    MODEL = auto()
    """Opens it as a file or folder where there is one, else takes it for a name on the Hugging Face hub."""
    DATASET = auto()
    """Reads all images in the folder; where there is none, a name on the hub."""
    NAME_PART = auto()
    """Puts it in front of the names of files that it writes."""


@dataclass(frozen=True, slots=True)
class Named:
    """A value that is not empty, and its place in the config."""

    place: Place
    text: str
    kind: Kind


_WRITTEN_ENDS = ("_dir", "_dirs", "_directory", "_folder", "_destination")
_READ_ENDS = ("_path", "_paths", "_file", "_files", "_file_name")
_TAG_FILES = (".txt", ".csv")
_REMOTE = ("cloud",)
"""Paths on another machine. Nothing reads them: the adapter switches `cloud.enabled` off."""


def named_in(config: Mapping[str, Any]) -> Iterator[Named]:
    """Every value in *config* that names something, at whatever depth."""
    texts = list(_texts(config, ()))
    takes_pictures = any(text == "FINE_TUNE_VAE" for place, text in texts if _keys(place)[-1:] == ["training_method"])
    for place, text in texts:
        kind = _kind_of(place, text, takes_pictures=takes_pictures)
        if kind is not None:
            yield Named(place, text, kind)


def named_in_sample(sample: Mapping[str, Any], config: Mapping[str, Any]) -> Iterator[Named]:
    """The same for one sample that is asked for while the training of *config* is under way."""
    return named_in({"samples": [sample], "training_method": config.get("training_method")})


def names_path(keys: Sequence[str]) -> bool:
    """Whether a text under *keys* is a path, whatever it says."""
    return _kind_of(tuple(keys), "", takes_pictures=False) is not None


def _texts(value: Any, place: Place) -> Iterator[tuple[Place, str]]:
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _texts(inner, (*place, key))
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from _texts(inner, (*place, index))
    elif isinstance(value, str) and value:
        yield place, value


def _kind_of(place: Place, text: str, *, takes_pictures: bool) -> Kind | None:
    keys = _keys(place)
    key = keys[-1].lower() if keys else ""
    kind: Kind | None = None
    if keys[:1] == list(_REMOTE):
        kind = None
    elif key == "path":
        kind = Kind.DATASET
    elif key == PRESET_KEY or key.endswith(_READ_ENDS):
        kind = Kind.READ
    elif key.endswith(_WRITTEN_ENDS):
        kind = Kind.WRITTEN
    elif key.endswith("_prefix"):
        kind = Kind.NAME_PART
    elif key.endswith(("_name", "_names")):
        kind = Kind.MODEL
    elif key == "tag_dropout_special_tags" and text.endswith(_TAG_FILES):
        kind = Kind.READ  # mgds, DropTags.py: a list of tags, or the file that holds one
    elif key == "prompt" and "samples" in keys and takes_pictures:
        kind = Kind.READ  # StableDiffusionVaeSampler.py opens the prompt as an image
    return kind


def _keys(place: Place) -> list[str]:
    """The names on the way; a key of a single value is several of them (`vae.model_name`)."""
    keys = [part for part in place if isinstance(part, str)]
    return [name for key in keys[1:] for name in key.split(".")] if keys[:1] == [CONFIG_VALUES_KEY] else keys
