"""Reads the images of a predict request, with limits on size and number."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from fastapi import Request

from app.errors import ApiError
from app.settings import Settings
from app.web.errors import closing
from app.web.multipart import MULTIPART, PART_BYTES, MultipartBody, Part, media_type
from app.web.upload_memory import MemoryBudget, queue_full

FIELD = "file"

Chunks = Callable[[int], AsyncIterator[bytes]]


@dataclass
class Upload:
    filename: str | None
    data: bytearray = field(default_factory=bytearray)

    def take(self) -> bytes:
        """Return the data and let go of it: an image is not held twice."""
        data, self.data = bytes(self.data), bytearray()
        return data


@asynccontextmanager
async def images(request: Request, settings: Settings, memory: MemoryBudget) -> AsyncIterator[list[Upload]]:
    """The uploads in request order, at least one. Releases their memory at the end. Raises ApiError."""
    uploads: list[Upload] = []
    loop = asyncio.get_running_loop()
    deadline = asyncio.timeout(None)
    with memory.share(lambda: deadline.reschedule(loop.time())) as share:

        async def chunks(limit: int) -> AsyncIterator[bytes]:
            message = f"The images of a request may have at most {limit:,} bytes."
            if int(request.headers.get("content-length", 0)) > limit:
                raise too_large(message)
            async for chunk in request.stream():
                if share.held + len(chunk) > limit:
                    raise too_large(message)
                share.take(len(chunk))
                yield chunk

        try:
            try:
                async with deadline:
                    await _read(request, settings, chunks, uploads, memory)
            except TimeoutError:  # of `deadline`, which only `share` sets
                raise closing(queue_full()) from None
            if share.canceled:
                raise queue_full()
            share.receiving = False
            yield uploads
        finally:
            for upload in uploads:  # at once, even if a reference to the request is kept
                upload.data = bytearray()


async def _read(
    request: Request, settings: Settings, chunks: Chunks, uploads: list[Upload], memory: MemoryBudget
) -> None:
    """Append the images to `uploads` as they arrive."""
    kind = media_type(request)
    if kind.startswith("image/"):
        uploads.append(Upload(None))
        async for chunk in chunks(settings.max_image_bytes):
            uploads[0].data += chunk
    elif kind == MULTIPART:
        limit = min(settings.max_images * (settings.max_image_bytes + PART_BYTES), memory.limit)
        body = MultipartBody(request.headers["content-type"], max_parts=2 * settings.max_images)
        received: dict[Part, Upload] = {}
        async for chunk in chunks(limit):
            for part, data in body.feed(chunk):
                if part.name == FIELD:
                    _add(received, uploads, part, data, settings)
        body.finish()
        if not uploads:
            raise ApiError(422, "no_file", f"There is no field called {FIELD!r} with an image.")
    else:
        message = f"Send {MULTIPART} with the field {FIELD!r}, or an image as the body with its image/* type."
        raise closing(ApiError(415, "unsupported_media_type", message))


def _add(received: dict[Part, Upload], uploads: list[Upload], part: Part, data: bytes, settings: Settings) -> None:
    if part not in received:
        if len(uploads) == settings.max_images:
            message = f"At most {settings.max_images} images are accepted per request."
            raise closing(ApiError(413, "too_many_images", message))
        received[part] = Upload(part.filename or "")
        uploads.append(received[part])
    upload = received[part]
    if len(upload.data) + len(data) > settings.max_image_bytes:
        raise too_large(f"An image may have at most {settings.max_image_bytes:,} bytes.")
    upload.data += data


def too_large(message: str) -> ApiError:
    return closing(ApiError(413, "too_large", message))
