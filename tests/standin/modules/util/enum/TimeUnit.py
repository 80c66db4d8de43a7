from enum import Enum


class TimeUnit(Enum):
    EPOCH = "EPOCH"
    STEP = "STEP"
    SECOND = "SECOND"
    MINUTE = "MINUTE"
    NEVER = "NEVER"

    def __str__(self) -> str:
        return self.value
