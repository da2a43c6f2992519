"""Uploads in chunks, for zips that are too large for one request: `POST /api/datasets` with `upload` imports one."""

from __future__ import annotations

import base64
import binascii
import os
import re
import tempfile
from pathlib import Path
from typing import Annotated

from fastapi import APIRouter, Header, Query, Request, Response
from fastapi.concurrency import run_in_threadpool
from pydantic import Field

from app.datasets.uploads import MOST_CHUNK_BYTES, Upload
from app.errors import ApiError
from app.fields import RequestBody
from app.web.errors import described
from app.web.services import FileUploadsDep, SettingsDep

router = APIRouter(prefix="/api/uploads", tags=["datasets"])

WRITE_BYTES = 1 << 20
NO_UPLOAD: dict[int | str, str] = {404: "No such upload"}
_DIGEST = re.compile(r"sha-256=:([A-Za-z0-9+/=]+):")


class NewUpload(RequestBody):
    name: str = Field(max_length=200, description="The file's name.")
    size: int = Field(ge=1, le=2**50, description="Its size in bytes.")


@router.post("", status_code=201, responses=described({413: "The file is too large", 507: "No space left on device"}))
def begin(body: NewUpload, uploads: FileUploadsDep, response: Response) -> Upload:
    """Announce a file. It is then sent in chunks, from the `offset` of each answer on."""
    upload = uploads.begin(body.name, body.size)
    response.headers["Location"] = f"/api/uploads/{upload.id}"
    return upload


@router.get("/{upload_id}", responses=described(NO_UPLOAD))
def look(upload_id: str, uploads: FileUploadsDep) -> Upload:
    """How much has arrived. An upload that nobody continues is deleted after a week."""
    return uploads.look(upload_id)


@router.put(
    "/{upload_id}",
    responses=described(
        NO_UPLOAD
        | {
            409: "The chunk does not begin where the upload ends",
            413: f"The chunk is longer than what is missing, or than {MOST_CHUNK_BYTES:,} bytes",
            422: "The chunk does not have the hash that was sent with it",
        }
    ),
    openapi_extra={
        "requestBody": {
            "required": True,
            "content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}},
        }
    },
)
async def append(
    upload_id: str,
    request: Request,
    uploads: FileUploadsDep,
    settings: SettingsDep,
    offset: Annotated[int, Query(ge=0, le=2**50, description="Where in the file the chunk begins.")],
    content_digest: Annotated[str | None, Header(max_length=200, description="As RFC 9530: sha-256=:BASE64:")] = None,
) -> Upload:
    """Send a chunk as the body. It counts once it is on the disk; a chunk that was cut off is sent again."""
    await run_in_threadpool(uploads.look, upload_id)
    sha256 = None if content_digest is None else _sha256(content_digest)
    settings.uploads.mkdir(exist_ok=True)
    handle, name = tempfile.mkstemp(dir=settings.uploads)
    try:
        with os.fdopen(handle, "wb") as file:
            unwritten = bytearray()
            async for piece in request.stream():
                unwritten += piece
                if len(unwritten) >= WRITE_BYTES:
                    await run_in_threadpool(file.write, unwritten)
                    unwritten = bytearray()
            file.write(unwritten)
        return await run_in_threadpool(uploads.append, upload_id, offset, Path(name), sha256)
    finally:
        Path(name).unlink(missing_ok=True)


@router.delete("/{upload_id}", status_code=204, responses=described(NO_UPLOAD))
def discard(upload_id: str, uploads: FileUploadsDep) -> None:
    uploads.discard(upload_id)


def _sha256(digest: str) -> str:
    found = _DIGEST.search(digest)
    try:
        return base64.b64decode(found[1], validate=True).hex() if found else ""
    except binascii.Error:
        raise ApiError(400, "bad_request", "The Content-Digest header is not base64.") from None
