"""`/samples`."""

from typing import Annotated, Literal

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
    prompt_index: int | None = Field(None, description="Which of the config's samples it is, from 0.")
    width: int | None = Field(None, description="Pixels, as stored; null for what is no picture.")
    height: int | None = None
    media_type: str | None = None
    thumbnail: str | None = Field(None, description="Where a small picture of it is; null for what is no picture.")


class SampleList(ResponseModel):
    samples: list[SampleInfo]
    count: int
    next: str | None = Field(description="Give it as `cursor` to get those behind these; null at the end.")


class SampleFilter(QueryModel):
    """Of what is not known of a sample, none is wanted."""

    limit: Annotated[int, Field(ge=1, le=10_000)] = 100
    cursor: str | None = Field(None, max_length=8192, description="`next` of an earlier answer.")
    prompt_index: int | None = Field(None, ge=0, le=10**9, description="Only of this sample of the config.")
    prompt: str | None = Field(None, max_length=1000, description="Only with this in the prompt, in any case.")
    step_from: int | None = Field(None, ge=0, le=10**15, description="Only of this global step or later.")
    step_to: int | None = Field(None, ge=0, le=10**15, description="Only of this global step or earlier.")
    kind: Literal["default", "custom"] | None = None


class SampleQuery(SampleFilter):
    samples_dir: str | None = Field(
        None,
        max_length=4096,
        json_schema_extra=FOR_ADMINS,
        description="Look in this folder instead; it must lie in the roots. Admins only.",
    )


class ThumbnailQuery(QueryModel):
    size: int = Field(256, ge=16, le=1024, description="Of the longer side, in pixels; rounded up to one of a few.")
    format: Literal["webp", "jpeg"] = "webp"


class SampleGenerateRequest(RequestModel):
    prompt: Prompt
    negative_prompt: Prompt = ""
    height: int = Field(512, ge=1, le=8192)
    width: int = Field(512, ge=1, le=8192)
    seed: int = Field(42, ge=-(2**63), le=2**63 - 1)
    random_seed: bool = False
    diffusion_steps: int = Field(20, ge=1, le=1000)
    cfg_scale: float = Field(7.0, ge=0, le=100, allow_inf_nan=False)
