import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

# The smallest file that is whole as a JPEG by its segments: a header, the begin of a scan, its end.
_JPEG = b"\xff\xd8\xff\xe0\x00\x10JFIF\x00\x01\x01\x00\x00\x01\x00\x01\x00\x00\xff\xda\x00\x08\x01\x01\x00\x00\x3f\x00\x00\xff\xd9"


class ModelSampler:
    def sample(
        self, sample_config: Any, destination: str, image_format: Any = None, video_format: Any = None, audio_format: Any = None,
        on_sample: Callable[[Any], None] = lambda _: None, on_update_progress: Callable[[int, int], None] = lambda _, __: None,
    ) -> None:  # fmt: skip
        for step in range(sample_config.diffusion_steps):
            on_update_progress(step + 1, sample_config.diffusion_steps)
        os.makedirs(Path(destination).parent, exist_ok=True)
        Path(destination + ".jpg").write_bytes(_JPEG)
        on_sample(_JPEG)
