"""What a script logged, as the API returns it, and receiving its files."""

from __future__ import annotations

import hashlib
import secrets
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response
from fastapi.concurrency import run_in_threadpool
from pydantic import BeforeValidator

from app.fields import none_if_empty
from app.runs.script_data import MediaName, MediaPublic, ScriptPublic
from app.runs.script_requests import Digest, KeptFile, ScriptId
from app.web.assets import Download, download_answers
from app.web.errors import described
from app.web.services import ScriptDataDep, ScriptsDep, SettingsDep

router = APIRouter(prefix="/api/scripts", tags=["scripts"])
NO_SCRIPT = described({404: "No such run", 409: "The run is not a script's"})
FILE: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}},
    }
}
WRITE_BYTES = 1 << 20


@router.get("/{run_id}", responses=NO_SCRIPT)
def get(run_id: ScriptId, data: ScriptDataDep) -> ScriptPublic:
    """Return the configuration, the environment and the saved files of a script run."""
    return data.of(run_id)


@router.get("/{run_id}/media/names", responses=NO_SCRIPT)
def media_names(run_id: ScriptId, data: ScriptDataDep) -> list[MediaName]:
    """Return the names under which images and texts were logged, with their steps."""
    return data.media_names(run_id)


@router.get("/{run_id}/media", responses=NO_SCRIPT)
def media(
    run_id: ScriptId,
    data: ScriptDataDep,
    name: Annotated[str, Query(min_length=1, max_length=500)],
    step: Annotated[int | None, Query(ge=0, le=2**53), BeforeValidator(none_if_empty)] = None,
) -> list[MediaPublic]:
    """Return the images and texts of a name, of the last step that is not after `step`."""
    return data.media(run_id, name, step)


@router.get(
    "/{run_id}/files/{sha256}",
    response_class=Download,
    responses=download_answers("application/octet-stream", {404: "No such run or file"}),
)
def file(run_id: ScriptId, sha256: Digest, data: ScriptDataDep) -> Download:
    """Return a file or an image that the script logged. HEAD answers 200 once it has arrived."""
    path, media_type, name = data.file(run_id, sha256)
    headers = {"Cache-Control": "private, max-age=31536000, immutable"}
    return Download(path, filename=name, media_type=media_type, headers=headers)


@router.put(
    "/{run_id}/files/{sha256}",
    status_code=201,
    openapi_extra=FILE,
    responses={
        200: {"model": KeptFile, "description": "It was there already"},
        **described(
            {404: "No such run", 409: "The run is not a script's", 413: "The file is too large", 422: "Another hash"}
        ),
    },
)
async def put_file(
    run_id: ScriptId,
    sha256: Digest,
    request: Request,
    response: Response,
    scripts: ScriptsDep,
    settings: SettingsDep,
) -> KeptFile:
    """Send a file, as the body, that an event names by its SHA-256."""
    if await run_in_threadpool(scripts.has_file, run_id, sha256):
        response.status_code = 200
        return KeptFile(sha256=sha256)
    settings.uploads.mkdir(exist_ok=True)
    path = settings.uploads / f"script-{secrets.token_hex(8)}"  # with the permissions that files of the home have
    received = hashlib.sha256()
    try:
        with path.open("xb") as out:
            unwritten = bytearray()
            async for piece in request.stream():
                received.update(piece)
                unwritten += piece
                if len(unwritten) >= WRITE_BYTES:
                    await run_in_threadpool(out.write, unwritten)
                    unwritten = bytearray()
            await run_in_threadpool(out.write, unwritten)
        await run_in_threadpool(scripts.keep_file, run_id, sha256, received.hexdigest(), path)
    finally:
        path.unlink(missing_ok=True)
    return KeptFile(sha256=sha256)
