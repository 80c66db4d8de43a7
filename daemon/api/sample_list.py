"""Samples as the API shows them: with what their files' headers tell. Blocks on the disk."""

from collections.abc import Iterable
from typing import Any

from daemon.api.models.samples import SampleFilter
from daemon.errors import NotFoundError
from daemon.samples.dimensions import dimensions
from daemon.samples.formats import media_type
from daemon.samples.names import SampleInfo, path_of
from daemon.samples.selection import Wanted


def wanted_by(query: SampleFilter) -> Wanted:
    return Wanted(query.prompt_index, query.prompt, query.step_from, query.step_to, query.kind)


def shown(samples: Iterable[SampleInfo]) -> list[dict[str, Any]]:
    return [_shown(info) for info in samples]


def _shown(info: SampleInfo) -> dict[str, Any]:
    media = media_type(info.filename)
    is_picture = media is not None and media.startswith("image/")
    try:
        size = dimensions(str(path_of(info.id))) if is_picture else None
    except NotFoundError:
        size = None
    width, height = size or (None, None)
    thumbnail = f"/samples/{info.id}/thumbnail" if is_picture else None
    return {**info.to_json(), "width": width, "height": height, "media_type": media, "thumbnail": thumbnail}
