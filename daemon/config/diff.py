"""What two configs do differently. Pure."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from daemon.config.schema_words import pointer

_MISSING: Any = object()


@dataclass(frozen=True, slots=True)
class Change:
    """One key whose value differs. *before* and *after* are None where there is none: *kind* tells that from null."""

    pointer: str
    """JSON pointer (RFC 6901)."""
    kind: Literal["changed", "added", "removed"]
    before: Any
    after: Any


def changes(base: Mapping[str, Any], config: Mapping[str, Any]) -> Iterator[Change]:
    """From *base* to *config*: objects are compared key by key, in the order of *base*, then of *config*.

    Lists are compared as a whole, since a merge replaces them. 1 and 1.0 are the same number; true is no number.
    Keys that begin with `__` are passed over: OneTrainer's `__version`, our `__description`.
    """
    yield from _inside(base, config, ())


def _inside(base: Mapping[str, Any], config: Mapping[str, Any], path: tuple[str, ...]) -> Iterator[Change]:
    for key in {**base, **config}:
        if key.startswith("__"):
            continue
        before, after = base.get(key, _MISSING), config.get(key, _MISSING)
        here = (*path, key)
        if isinstance(before, Mapping) and isinstance(after, Mapping):
            yield from _inside(before, after, here)
        elif after is _MISSING:
            yield Change(pointer(here), "removed", before, None)
        elif before is _MISSING:
            yield Change(pointer(here), "added", None, after)
        elif not is_same(before, after):
            yield Change(pointer(here), "changed", before, after)


def is_same(one: Any, other: Any) -> bool:
    """Whether two JSON values are equal; unlike `==`, true is not 1."""
    match one, other:
        case bool() | None, _:
            return one is other
        case _, bool() | None:
            return False
        case [*_], [*_]:
            return len(one) == len(other) and all(map(is_same, one, other))
        case {}, {}:
            return one.keys() == other.keys() and all(is_same(value, other[key]) for key, value in one.items())
        case _:
            return bool(one == other)
