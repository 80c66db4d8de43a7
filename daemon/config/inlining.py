"""What a config keeps in files of its own, taken into it: a later edit of a file changes nothing in a run that has begun or waits."""

from collections.abc import Mapping
from typing import Any

from daemon.config.loading import load_config_file, read_bounded
from daemon.config.path_keys import PRESET_KEY
from daemon.errors import NotFoundError
from daemon.jsontext import parse_list
from daemon.paths import Roots

LISTS: Mapping[str, tuple[str, str]] = {
    "concepts": ("concept_file_name", "training_concepts/concepts.json"),
    "samples": ("sample_definition_file_name", "training_samples/samples.json"),
}
"""List → the key of its file, and OneTrainer's default for that (TrainConfig.py); relative to the roots' base."""


def inline_lists(config: Mapping[str, Any], roots: Roots) -> dict[str, Any]:
    """*config* with `concepts` and `samples` as lists, and the preset below it as an object, where it names them by file and that is there.

    A file that the config names and that is missing is left to validation and to the trainer, as is anything that is no text.
    What comes out of the files is as foreign as the config itself, and is to be checked like it.

    Raises:
        InvalidError: a file is no JSON list, or the preset no object.
        ForbiddenError: a file lies outside the roots.
    """
    inlined = dict(config)
    if isinstance(preset := config.get(PRESET_KEY), str) and preset:
        try:
            inlined[PRESET_KEY] = load_config_file(roots.resolve(preset, PRESET_KEY), roots)
        except NotFoundError:
            pass
    for key, (file_key, default) in LISTS.items():
        name = config.get(file_key, default)
        if config.get(key) is not None or not isinstance(name, str) or not name:
            continue
        path = roots.resolve(name, file_key)
        try:
            inlined[key] = parse_list(read_bounded(path, roots), str(path))
        except NotFoundError:
            continue
    return inlined
