"""Which samples a client wants, and page by page: filters, and the place where a page ended. Pure."""

import base64
import binascii
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

from daemon.errors import InvalidError
from daemon.samples.names import Kind, SampleInfo, Told


@dataclass(frozen=True, slots=True)
class Wanted:
    """None takes all. *prompt*: a part of it, in any case; *step_from* and *step_to*: global steps, both included."""

    prompt_index: int | None = None
    prompt: str | None = None
    step_from: int | None = None
    step_to: int | None = None
    kind: Kind | None = None

    @property
    def is_all(self) -> bool:
        return self == Wanted()

    def takes(self, told: Told) -> bool:
        """Whether a sample of which *told* is known is wanted. What is not known of it is not what is wanted."""
        step, prompt = told.get("step"), told.get("prompt")
        return (
            (self.prompt_index is None or told.get("prompt_index") == self.prompt_index)
            and (self.kind is None or told.get("kind", "default") == self.kind)
            and (self.step_from is None or (step is not None and step >= self.step_from))
            and (self.step_to is None or (step is not None and step <= self.step_to))
            and (self.prompt is None or (prompt is not None and _folded(self.prompt) in _folded(prompt)))
        )


@lru_cache(1024)
def _folded(text: str) -> str:
    """A few prompts, and thousands of samples of each."""
    return text.casefold()


ALL = Wanted()


@dataclass(frozen=True, slots=True, order=True)
class Place:
    """Where a sample stands among all: by time, then by path. Newest first means downwards."""

    mtime_us: int
    folder: str
    name: str

    def encode(self) -> str:
        return base64.urlsafe_b64encode(f"{self.mtime_us}:".encode() + os.fsencode(f"{self.folder}/{self.name}")).decode().rstrip("=")

    @classmethod
    def decode(cls, text: str) -> "Place":
        """Raises InvalidError (code `bad_cursor`)."""
        try:
            raw = base64.b64decode(text + "=" * (-len(text) % 4), b"-_", validate=True)
            moment, _, path = raw.partition(b":")
            folder, separator, name = os.fsdecode(path).rpartition("/")
            if not separator or len(moment) > 20:
                raise ValueError(text)
            return cls(int(moment), folder, name)
        except (ValueError, binascii.Error) as error:
            raise InvalidError(f"cursor: {text[:100]!r} is none; take it from `next` of an earlier answer", code="bad_cursor") from error


@dataclass(frozen=True, slots=True)
class Page:
    """*samples*, newest first; *next* is the cursor that goes on behind them, None at the end."""

    samples: Sequence[SampleInfo]
    next: str | None = None


def page_of(found: Iterator[tuple[str, SampleInfo]], limit: int) -> Page:
    """The first *limit* of *found*: each with the cursor that goes on behind it. Reads one more, to know whether there is more."""
    samples: list[SampleInfo] = []
    last = None
    for cursor, info in found:
        if len(samples) == limit:
            return Page(samples, last)
        samples.append(info)
        last = cursor
    return Page(samples)
