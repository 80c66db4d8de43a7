"""`/runs/{id}/metrics`: the scalars of one run."""

from typing import Literal

from pydantic import Field

from daemon.api.models.common import QueryModel, ResponseModel

Value = float | Literal["NaN", "Infinity", "-Infinity"]


class MetricsQuery(QueryModel):
    tags: str | None = Field(
        default=None, max_length=4096, description="Tags between commas; `*` stands for anything: `loss/*`. Without it: all of them."
    )
    since: str | None = Field(
        default=None, max_length=100,
        description="`next` of an earlier answer: only what has come since. Or a global_step: only points behind it.",
    )  # fmt: skip
    until: int | None = Field(default=None, ge=0, lt=2**63, description="Only points up to this global_step.")
    max_points: int | None = Field(
        default=None, ge=3, le=100_000,
        description="For each series; more are thinned out by MinMaxLTTB, so that peaks stay. Without it: 1000 as JSON, all as CSV.",
    )  # fmt: skip
    merged: bool = Field(
        default=False, description="One series a tag over all attempts, without the steps that a later attempt has trained again."
    )
    format: Literal["json", "csv"] = "json"


class MetricSeries(ResponseModel):
    """Three columns of one length, by rising global_step."""

    tag: str
    attempt: int | None = Field(description="null: merged of all attempts.")
    count: int = Field(description="How many points there are in what was asked for; more than are listed where they were thinned out.")
    global_step: list[int] = Field(description="1 after the first batch; OneTrainer's event files count from 0.")
    time: list[float] = Field(description="Unix seconds.")
    value: list[Value]


class AttemptSteps(ResponseModel):
    attempt: int
    first_step: int = Field(description="From here on this attempt counts, and no earlier one.")
    last_step: int


class Metrics(ResponseModel):
    run_id: str
    series: list[MetricSeries]
    attempts: list[AttemptSteps]
    next: str = Field(description="For `since`: what comes after all that there is now.")
    is_complete: bool = Field(description="false: the run's journals hold more, which is still being taken in; ask again.")


class MetricPoint(ResponseModel):
    global_step: int
    time: float
    value: Value


class MetricTag(ResponseModel):
    tag: str
    attempt: int
    count: int
    first_step: int
    last: MetricPoint


class MetricTags(ResponseModel):
    tags: list[MetricTag]
    count: int
    is_complete: bool = Field(description="As in `/runs/{run_id}/metrics`.")
