"""Receives a multipart form with files, which are written to the home as they arrive."""

from __future__ import annotations

import os
import tempfile
from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager
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


@dataclass(frozen=True)
class ReceivedFile:
    path: Path
    name: str


@dataclass
class ReceivedForm:
    """The form's fields, and its files by the name of their field."""

    fields: dict[str, str] = field(default_factory=dict)
    files: dict[str, ReceivedFile] = field(default_factory=dict)

    def required_file(self) -> ReceivedFile:
        """Raises ApiError 422."""
        if FILE not in self.files:
            raise invalid([([FILE], "is required")])
        return self.files[FILE]


@asynccontextmanager
async def received_form(request: Request, folder: Path, *, also: tuple[str, ...] = ()) -> AsyncIterator[ReceivedForm]:
    """The form, its files in `folder`: `file`, and those named in `also`, which may be plain fields too.

    The files are deleted at the end unless they have been moved. Raises ApiError.
    """
    folder.mkdir(exist_ok=True)
    form = ReceivedForm()
    try:
        await _read(request, form, folder, (FILE, *also))
        yield form
    finally:
        for file in form.files.values():
            file.path.unlink(missing_ok=True)


async def _read(request: Request, form: ReceivedForm, folder: Path, names: tuple[str, ...]) -> None:
    body = MultipartBody(request.headers["content-type"], max_parts=MAX_FIELDS + len(names))
    fields: dict[Part, bytearray] = {}
    with ExitStack() as opened:
        out: BinaryIO | None = None
        unwritten = bytearray()
        async for chunk in request.stream():
            for part, data in body.feed(chunk):
                if part.filename is None:
                    _add(fields.setdefault(part, bytearray()), part, data)
                    continue
                if not data:  # the first piece of a part
                    if out is not None:
                        await run_in_threadpool(out.write, unwritten)
                        unwritten = bytearray()
                    out = opened.enter_context(_begin_file(form, part, folder, names))
                unwritten += data
            if out is not None and len(unwritten) >= WRITE_BYTES:
                await run_in_threadpool(out.write, unwritten)
                unwritten = bytearray()
        body.finish()
        if out is not None:
            await run_in_threadpool(out.write, unwritten)
    form.fields = {part.name: value.decode(errors="replace") for part, value in fields.items()}


def _add(value: bytearray, part: Part, data: bytes) -> None:
    if part.name == FILE:
        raise closing(invalid([([FILE], "must be sent as a file, with a file name")]))
    if len(value) + len(data) > MAX_FIELD_BYTES:
        raise closing(ApiError(413, "too_large", f"The field {part.name[:80]!r} is too large."))
    value += data


def _begin_file(form: ReceivedForm, part: Part, folder: Path, names: tuple[str, ...]) -> BinaryIO:
    """Open the file that a part is written to. Raises ApiError."""
    if part.name not in names:
        raise closing(invalid([([FILE], f"is required: the file was sent in the field {part.name[:80]!r}")]))
    if part.name in form.files:
        raise closing(ApiError(400, "too_many_files", "One file is accepted per request."))
    handle, path = tempfile.mkstemp(dir=folder)
    form.files[part.name] = ReceivedFile(Path(path), part.filename or "")
    return os.fdopen(handle, "wb")


def remove_remains(folder: Path) -> None:
    """Delete the files of uploads that were being received when the web process was killed.

    Those that can be continued are in a folder of `folder`, and stay.
    """
    for path in folder.glob("*"):
        if path.is_file():
            path.unlink(missing_ok=True)
