"""What there is to learn from, and to draw. Without data OneTrainer ends with 0 and no model, or fails when it begins."""

from collections.abc import Iterator, Mapping
from typing import Any

from daemon.config.findings import Finding
from daemon.config.rules.view import View, children, shown

_IMAGES = frozenset({".bmp", ".jpg", ".jpeg", ".png", ".tif", ".tiff", ".webp", ".avif", ".gif"})
_VIDEOS = frozenset({".webm", ".mkv", ".flv", ".avi", ".mov", ".wmv", ".mp4", ".mpeg", ".m4v"})
"""OneTrainer's `path_util.py`, and what the built-in trainer reads besides: rather one too many than a run refused."""
_MAX_FILES = 20_000
_MAX_CONCEPTS = 200
_VALIDATION = "VALIDATION"


def nothing_to_learn(view: View) -> Iterator[Finding]:
    concepts = view.concepts()
    if concepts is not None and not any(_is_trained(concept) for _, concept in concepts):
        what = "only for validation" if concepts else "enabled"
        message = "they are " + what if concepts else "none is enabled"
        yield Finding("error", "/concepts", f"{message}: there is nothing to learn from")


def batch_without_data(view: View) -> Iterator[Finding]:
    """An epoch has as many steps as full batches: with fewer images than one batch there is none, and the run ends with nothing made."""
    batch, concepts = view.integer("batch_size"), view.concepts()
    if batch is None or batch < 2 or not concepts or len(concepts) > _MAX_CONCEPTS:
        return
    images = 0.0
    for _, concept in concepts:
        if _is_trained(concept):
            counted = _images_per_epoch(view, concept, batch)
            if counted is None:
                return
            images += counted
            if images >= batch:
                return
    yield Finding(
        "error", "/batch_size",
        f"{batch} is more than the {images:g} images of an epoch: no batch would ever be full, and nothing would be trained; "
        f"allowed: up to {int(images)}",
    )  # fmt: skip


def _images_per_epoch(view: View, concept: Mapping[str, Any], enough: int) -> float | None:
    """None where it cannot be told: a folder that is not there, or a data set on the hub."""
    path, balancing = concept.get("path"), _number(concept.get("balancing", 1))
    folder = view.inside(path) if isinstance(path, str) and path else None
    if folder is None or not folder.is_dir() or balancing is None:
        return None
    if concept.get("balancing_strategy") == "SAMPLES":
        return balancing
    suffixes = _IMAGES | _VIDEOS
    count = 0
    for file in children(folder, _MAX_FILES, is_deep=concept.get("include_subdirectories") is True):
        count += file.suffix.lower() in suffixes
        if count * balancing >= enough:
            break
    return count * balancing


def _number(value: object) -> float | None:
    """Also of a text, which OneTrainer reads."""
    try:
        return float(value) if isinstance(value, int | float | str) and not isinstance(value, bool) else None
    except ValueError:
        return None


def missing_samples(view: View) -> Iterator[Finding]:
    """OneTrainer reads the file when it begins, also where it is to draw much later."""
    if view.value("samples") is not None or view.text("sample_after_unit") in {None, "NEVER"}:
        return
    name = view.text("sample_definition_file_name")
    path = view.inside(name) if name else None
    if path is not None and not path.is_file():
        message = (
            f'{shown(name)} is not a file: {path} does not exist; name one, put the list into samples, or set sample_after_unit to "NEVER"'
        )
        given = view.is_given("sample_definition_file_name")
        yield Finding("error" if given else "incomplete", "/sample_definition_file_name", message)


def no_validation_data(view: View) -> Iterator[Finding]:
    concepts = view.concepts()
    if view.is_on("validation") and concepts and not any(concept.get("type") == _VALIDATION for _, concept in concepts):
        yield Finding("warning", "/validation", "it is on, but no enabled concept is of the type VALIDATION")


def _is_trained(concept: Mapping[str, Any]) -> bool:
    return concept.get("type") != _VALIDATION
