"""OneTrainer's callbacks: whatever one of them raises is swallowed."""

import contextlib
from collections.abc import Callable
from typing import Any


class TrainCallbacks:
    def __init__(
        self,
        on_update_train_progress: Callable[..., Any] = lambda *_: None,
        on_update_status: Callable[..., Any] = lambda *_: None,
        on_sample_default: Callable[..., Any] = lambda *_: None,
        on_update_sample_default_progress: Callable[..., Any] = lambda *_: None,
        on_sample_custom: Callable[..., Any] = lambda *_: None,
        on_update_sample_custom_progress: Callable[..., Any] = lambda *_: None,
    ) -> None:
        self.on_update_train_progress = _quiet(on_update_train_progress)
        self.on_update_status = _quiet(on_update_status)
        self.on_sample_default = _quiet(on_sample_default)
        self.on_update_sample_default_progress = _quiet(on_update_sample_default_progress)
        self.on_sample_custom = _quiet(on_sample_custom)
        self.on_update_sample_custom_progress = _quiet(on_update_sample_custom_progress)


def _quiet(callback: Callable[..., Any]) -> Callable[..., None]:
    def call(*args: Any) -> None:
        with contextlib.suppress(Exception):
            callback(*args)

    return call
