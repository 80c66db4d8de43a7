"""Send a thumbnail: a few kilobytes from memory, and not again to a client that has it."""

from aiohttp import hdrs, web

from daemon.api.open_file import HEADERS
from daemon.samples.thumbnails import Thumbnail


class ThumbnailAnswer(web.Response):
    """200, or 304 where *request* says that the client has it."""

    def __init__(self, thumbnail: Thumbnail, request: web.Request) -> None:
        has_it = any(tag.value in {thumbnail.tag, "*"} for tag in request.if_none_match or ())
        headers = {**HEADERS, hdrs.ETAG: f'"{thumbnail.tag}"'}
        if has_it:
            super().__init__(status=304, headers=headers)
        else:
            super().__init__(body=thumbnail.data, headers=headers, content_type=thumbnail.media)
