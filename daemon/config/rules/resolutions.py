"""Texts that name resolutions. OneTrainer reads them when the data loader is made, after the model is loaded."""

import re
from collections.abc import Iterator

from daemon.config.findings import Finding
from daemon.config.rules.view import View, shown

_RESOLUTION = re.compile(r"\s*[0-9]{1,5}\s*x\s*[0-9]{1,5}\s*|\s*[0-9]{1,5}\s*(,\s*[0-9]{1,5}\s*)*", re.ASCII)
"""mgds' AspectBucketing: `768`, `512,768` (one of them is drawn), or `512x768` (exactly this one)."""
_MULTIPLE = 8


def not_a_resolution(view: View) -> Iterator[Finding]:
    yield from _check(view, ("resolution",), "/resolution")
    for index, concept in view.concepts() or []:
        image = concept.get("image")
        if isinstance(image, dict) and image.get("enable_resolution_override") is True:
            text = image.get("resolution_override")
            if isinstance(text, str | int) and not isinstance(text, bool):
                yield from _of_text(str(text), f"/concepts/{index}/image/resolution_override")


def not_the_builtins(view: View) -> Iterator[Finding]:
    """The built-in trainer reads a text as the number in it, which has limits that a pattern cannot say."""
    text = view.value("resolution")
    alternatives = view.described.root.get("properties", {}).get("resolution", {}).get("anyOf", ())
    limits = next((one for one in alternatives if one.get("type") == "integer"), None)
    if limits is None or not isinstance(text, str) or not re.fullmatch(r"[0-9]{1,9}", text):
        return
    low, high, step = limits.get("minimum", 1), limits.get("maximum", 10**9), limits.get("multipleOf", 1)
    if not low <= int(text) <= high or int(text) % step:
        message = f"{shown(text)} is no resolution of this trainer; allowed: from {low} to {high}, a multiple of {step}"
        yield Finding("error", "/resolution", message)


def _check(view: View, path: tuple[str, ...], where: str) -> Iterator[Finding]:
    text = view.text(*path)
    if text is not None:
        yield from _of_text(text, where)


def _of_text(text: str, where: str) -> Iterator[Finding]:
    if not _RESOLUTION.fullmatch(text):
        yield Finding("error", where, f"{shown(text)} is not a resolution; allowed: 512, or several as 512,768, or one as 512x768")
        return
    sides = [int(number) for number in re.findall(r"[0-9]+", text)]
    if min(sides) == 0:
        yield Finding("error", where, f"{shown(text)} has a side of 0 pixels")
    elif odd := [side for side in sides if side % _MULTIPLE]:
        yield Finding(
            "warning", where, f"{shown(text)}: {odd[0]} is no multiple of {_MULTIPLE}; it will be rounded to what the model takes"
        )
