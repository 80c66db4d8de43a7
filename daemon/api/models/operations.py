"""`/ready`."""

from typing import Literal

from pydantic import Field

from daemon.api.models.common import ResponseModel


class Ready(ResponseModel):
    status: Literal["ready"] = "ready"
    checks: tuple[str, ...] = Field(description="What was looked at: `runs`, `state_directory`, `journals`, `disk`.")
