"""Reads the images of a predict request, with limits on size, number and duration."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from fastapi import Request
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header
from starlette.requests import ClientDisconnect

from app.errors import ApiError
from app.settings import Settings
from app.web.upload_memory import MemoryBudget

FIELD = "file"
UPLOAD_SECONDS = 120.0
PART_BYTES = 4096  # per part, for its boundary and headers
NAME_LENGTH = 255

Chunks = Callable[[int], AsyncIterator[bytes]]


@dataclass
class Upload:
    filename: str | None
    data: bytearray = field(default_factory=bytearray)


@asynccontextmanager
async def images(request: Request, settings: Settings, memory: MemoryBudget) -> AsyncIterator[list[Upload]]:
    """The uploads in request order, at least one. Releases their memory at the end. Raises ApiError."""
    taken = 0

    async def chunks(limit: int) -> AsyncIterator[bytes]:
        nonlocal taken
        if int(request.headers.get("content-length", 0)) > limit:
            raise too_large(limit)
        async for chunk in request.stream():
            if taken + len(chunk) > limit:
                raise too_large(limit)
            memory.take(len(chunk))
            taken += len(chunk)
            yield chunk

    try:
        yield await _within_time(_read(request, settings, chunks))
    finally:
        memory.give_back(taken)


async def _within_time(reading: Awaitable[list[Upload]]) -> list[Upload]:
    try:
        async with asyncio.timeout(UPLOAD_SECONDS):
            return await reading
    except TimeoutError:
        raise _closing(408, "too_slow", "The body arrived too slowly.") from None
    except ClientDisconnect:
        raise ApiError(400, "incomplete_body", "The connection ended within the body.") from None


async def _read(request: Request, settings: Settings, chunks: Chunks) -> list[Upload]:
    kind, options = parse_options_header(request.headers.get("content-type"))
    if kind == b"multipart/form-data":
        limit = settings.max_images * (settings.max_image_bytes + PART_BYTES)
        try:
            form = _Form(options.get(b"boundary", b""), settings)
            async for chunk in chunks(limit):
                form.write(chunk)
            return form.finish()
        except FormParserError as error:
            raise ApiError(400, "malformed_body", f"The multipart body is malformed: {error}") from None
    if kind.startswith(b"image/"):
        upload = Upload(None)
        async for chunk in chunks(settings.max_image_bytes):
            upload.data += chunk
        return [upload]
    raise _closing(
        415,
        "unsupported_media_type",
        f"Send multipart/form-data with the field {FIELD!r}, or an image as the body with its image/* type.",
    )


class _Form:
    """Parses a multipart body and collects its parts named "file"."""

    def __init__(self, boundary: bytes, settings: Settings) -> None:
        if not boundary:
            raise ApiError(400, "malformed_body", "The Content-Type lacks its boundary.")
        self._settings = settings
        self._uploads: list[Upload] = []
        self._ended = False
        self._name, self._value = b"", b""
        self._headers: dict[bytes, bytes] = {}
        self._part: Upload | None = None
        self._parts = 0
        self._parser = MultipartParser(
            boundary,
            {
                "on_part_begin": self._begin,
                "on_header_field": self._header_name,
                "on_header_value": self._header_value,
                "on_header_end": self._header_end,
                "on_headers_finished": self._headers_finished,
                "on_part_data": self._data,
                "on_end": self._end,
            },
        )

    def write(self, chunk: bytes) -> None:
        self._parser.write(chunk)

    def finish(self) -> list[Upload]:
        self._parser.finalize()
        if not self._ended:
            raise ApiError(400, "malformed_body", "The multipart body is cut short.")
        if not self._uploads:
            raise ApiError(422, "no_file", f"There is no field called {FIELD!r} with an image.")
        return self._uploads

    def _begin(self) -> None:
        self._parts += 1
        if self._parts > 2 * self._settings.max_images:
            raise _closing(413, "too_many_parts", "The body has too many parts.")
        self._headers = {}
        self._part = None

    def _header_name(self, data: bytes, start: int, end: int) -> None:
        self._name += data[start:end]

    def _header_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def _header_end(self) -> None:
        self._headers[self._name.lower()] = self._value
        self._name, self._value = b"", b""

    def _headers_finished(self) -> None:
        _, options = parse_options_header(self._headers.get(b"content-disposition", b""))
        if options.get(b"name") != FIELD.encode():
            return
        if len(self._uploads) == self._settings.max_images:
            raise _closing(413, "too_many_images", f"At most {self._settings.max_images} images are taken at once.")
        name = options.get(b"filename", b"").decode("utf-8", "replace")
        self._part = Upload(name[:NAME_LENGTH])
        self._uploads.append(self._part)

    def _data(self, data: bytes, start: int, end: int) -> None:
        if self._part is None:
            return
        if len(self._part.data) + end - start > self._settings.max_image_bytes:
            raise too_large(self._settings.max_image_bytes)
        self._part.data += memoryview(data)[start:end]

    def _end(self) -> None:
        self._ended = True


def too_large(limit: int) -> ApiError:
    return _closing(413, "too_large", f"An image may have at most {limit:,} bytes.")


def _closing(status: int, code: str, message: str) -> ApiError:
    """An error that closes the connection, so that the rest of the body is not read."""
    return ApiError(status, code, message, headers={"Connection": "close"})
