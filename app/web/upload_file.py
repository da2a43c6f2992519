"""Receives a multipart form with a file, which is written to the home as it arrives."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from fastapi import Request
from fastapi.concurrency import run_in_threadpool

from app.errors import ApiError, invalid
from app.web.errors import closing
from app.web.multipart import MultipartBody, Part

FILE = "file"
MAX_FIELDS = 10
MAX_FIELD_BYTES = 1 << 20
WRITE_BYTES = 1 << 20


@dataclass
class ReceivedForm:
    """The form's fields; the path of its file, None if it has none, and the file's name."""

    fields: dict[str, str] = field(default_factory=dict)
    file: Path | None = None
    filename: str = ""

    def required_file(self) -> Path:
        """Raises ApiError 422."""
        if self.file is None:
            raise invalid([([FILE], "is required")])
        return self.file


@asynccontextmanager
async def received_form(request: Request, folder: Path) -> AsyncIterator[ReceivedForm]:
    """The form, its file in `folder`. The file is deleted at the end unless it has been moved. Raises ApiError."""
    folder.mkdir(exist_ok=True)
    handle, name = tempfile.mkstemp(dir=folder)
    path = Path(name)
    try:
        with os.fdopen(handle, "wb") as out:
            form = await _read(request, path, out)
        yield form
    finally:
        path.unlink(missing_ok=True)


async def _read(request: Request, path: Path, out: BinaryIO) -> ReceivedForm:
    body = MultipartBody(request.headers["content-type"], max_parts=MAX_FIELDS + 1)
    form = ReceivedForm()
    fields: dict[Part, bytearray] = {}
    unwritten = bytearray()
    async for chunk in request.stream():
        for part, data in body.feed(chunk):
            if part.filename is None:
                _add(fields.setdefault(part, bytearray()), part, data)
                continue
            if not data:  # the first piece of a part
                _begin_file(form, part, path)
            unwritten += data
        if len(unwritten) >= WRITE_BYTES:
            await run_in_threadpool(out.write, unwritten)
            unwritten = bytearray()
    body.finish()
    await run_in_threadpool(out.write, unwritten)
    form.fields = {part.name: value.decode(errors="replace") for part, value in fields.items()}
    return form


def _add(value: bytearray, part: Part, data: bytes) -> None:
    if part.name == FILE:
        raise closing(invalid([([FILE], "must be sent as a file, with a file name")]))
    if len(value) + len(data) > MAX_FIELD_BYTES:
        raise closing(ApiError(413, "too_large", f"The field {part.name[:80]!r} is too large."))
    value += data


def _begin_file(form: ReceivedForm, part: Part, path: Path) -> None:
    if part.name != FILE:
        raise closing(invalid([([FILE], f"is required: the file was sent in the field {part.name[:80]!r}")]))
    if form.file is not None:
        raise closing(ApiError(400, "too_many_files", "One file is accepted per request."))
    form.file, form.filename = path, part.filename or ""


def remove_remains(folder: Path) -> None:
    """Delete the files of uploads that were being received when the web process was killed."""
    shutil.rmtree(folder, ignore_errors=True)
