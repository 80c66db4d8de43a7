"""`/samples`."""

from typing import Annotated

from pydantic import AfterValidator, Field

from daemon.api.models.common import FOR_ADMINS, QueryModel, RequestModel, ResponseModel


def _without_nul(text: str) -> str:
    if "\0" in text:
        raise ValueError("must not hold a NUL character: no file name and no tokenizer takes it")
    return text


Prompt = Annotated[str, Field(max_length=10_000, json_schema_extra={"pattern": "^[^\\x00]*$"}), AfterValidator(_without_nul)]


class SampleInfo(ResponseModel):
    id: str
    path: str
    filename: str
    timestamp: str = Field(description="When the file was written: ISO 8601, UTC.")
    epoch: int | None = None
    step: int | None = Field(None, description="The global step.")
    epoch_step: int | None = None
    prompt: str | None = None
    seed: int | None = None
    kind: str = Field(description="default or custom.")
    size_bytes: int


class SampleList(ResponseModel):
    samples: list[SampleInfo]
    count: int


class SampleQuery(QueryModel):
    limit: Annotated[int, Field(ge=1, le=10_000)] = 100
    samples_dir: str | None = Field(
        None,
        max_length=4096,
        json_schema_extra=FOR_ADMINS,
        description="Look in this folder instead; it must lie in the roots. Admins only.",
    )


class SampleGenerateRequest(RequestModel):
    prompt: Prompt
    negative_prompt: Prompt = ""
    height: int = Field(512, ge=1, le=8192)
    width: int = Field(512, ge=1, le=8192)
    seed: int = Field(42, ge=-(2**63), le=2**63 - 1)
    random_seed: bool = False
    diffusion_steps: int = Field(20, ge=1, le=1000)
    cfg_scale: float = Field(7.0, ge=0, le=100, allow_inf_nan=False)
