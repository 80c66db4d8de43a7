"""`/runs/{id}/log`, `/samples` and `/backups` of one run."""

from typing import Any

from pydantic import Field

from daemon.api.models.common import QueryModel, ResponseModel
from daemon.api.models.samples import SampleInfo


class LogQuery(QueryModel):
    tail: int = Field(default=200, ge=0, le=10_000, description="How many of the last lines; 0: all that are kept.")
    follow: bool = Field(default=False, description="Go on as the console grows, over restarts too, until the run has ended.")
    attempt: int | None = Field(default=None, ge=1, le=1_000_000, description="Of this attempt only; else of the newest.")


class RunSample(SampleInfo):
    exists: bool = Field(description="false: the file was deleted since; the run's history still has it.")


class RunSampleList(ResponseModel):
    samples: list[RunSample]
    count: int
    next: str | None = Field(description="Give it as `cursor` to get those behind these; null at the end.")


class BackupsQuery(QueryModel):
    limit: int = Field(default=100, ge=1, le=1000, description="Of backups, and of saves.")


class SaveInfo(ResponseModel):
    path: str
    name: str
    created: float = Field(description="Unix seconds.")
    age_s: float = Field(description="Seconds since then.")
    global_step: int | None
    epoch: int | None
    epoch_step: int | None
    size_bytes: int
    own: bool = Field(description="This run made it; a workspace may serve several.")
    trigger: str | None = Field(description="interval, command, final, release or orphan; null when this run did not make it.")
    is_whole: bool | None = Field(
        description="Written to its end: a backup has its meta.json and a training can go on from it, a safetensors file its last tensor. "
        "null where the format of a save does not tell."
    )
    is_folder: bool
    url: str = Field(description="Where it is downloaded, for admins: a file with Range and ETag, a folder as a tar archive.")


class BackupInfo(SaveInfo):
    is_whole: bool


class BackupList(ResponseModel):
    """Newest first. `count` is that of the backups."""

    backups: list[BackupInfo]
    saves: list[SaveInfo]
    model: SaveInfo | None = Field(description="The final model.")
    count: int


class RunConfig(ResponseModel):
    """Without secrets."""

    config: dict[str, Any] = Field(description="What the run's trainers are given.")
    effective: dict[str, Any] | None = Field(
        description="What the trainer trains with: defaults filled in, migrated, concepts and samples inline; null until it has read it."
    )
    attempt: int | None = Field(description="Whose trainer wrote `effective`: the newest one that did.")
