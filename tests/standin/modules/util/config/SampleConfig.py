from typing import Any

from modules.util.config.BaseConfig import BaseConfig


class SampleConfig(BaseConfig):
    enabled: bool
    prompt: str

    @staticmethod
    def default_values(model_type: Any = None) -> "SampleConfig":
        return SampleConfig([
            ("enabled", True, bool, False), ("prompt", "", str, False), ("negative_prompt", "", str, False),
            ("height", 512, int, False), ("width", 512, int, False), ("seed", 42, int, False), ("random_seed", False, bool, False),
            ("diffusion_steps", 20, int, False), ("cfg_scale", 7.0, float, False), ("noise_scheduler", "DDIM", str, False),
        ])  # fmt: skip
