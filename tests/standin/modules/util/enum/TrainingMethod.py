from enum import Enum


class TrainingMethod(Enum):
    FINE_TUNE = "FINE_TUNE"
    LORA = "LORA"

    def __str__(self) -> str:
        return self.value
