from enum import Enum


class ModelFormat(Enum):
    SAFETENSORS = "SAFETENSORS"
    LEGACY_LORA = "LEGACY_LORA"
    LEGACY_SAFETENSORS = "LEGACY_SAFETENSORS"
    DIFFUSERS = "DIFFUSERS"
    INTERNAL = "INTERNAL"

    def __str__(self) -> str:
        return self.value
