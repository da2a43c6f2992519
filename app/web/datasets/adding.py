"""Adding a dataset: a known source, a path of the server's disk, or a zip, sent in one request or in chunks."""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path as FilePath
from typing import Any, Literal

import orjson
from fastapi import APIRouter, Request, Response
from fastapi.concurrency import run_in_threadpool
from pydantic import BaseModel, ConfigDict, Field, field_validator

from app.auth.exposure import is_loopback
from app.auth.scopes import Scope
from app.datasets.uploads import Uploads
from app.errors import ApiError, invalid
from app.jobs.tasks import TaskPublic, Tasks, upload_label
from app.settings import Settings
from app.web.errors import described
from app.web.forms import checked
from app.web.location import NEW_TASK, located
from app.web.multipart import MULTIPART, media_type
from app.web.services import (
    FileUploadsDep,
    PrincipalDep,
    SettingsDep,
    TasksDep,
)
from app.web.upload_file import ReceivedFile, received_form
from trainer.data.errors import UnknownSource
from trainer.data.format import LARGEST_SIZE, SMALLEST_SIZE, check_name
from trainer.data.sources.importer import DEFAULT_SIZE, LARGEST_KEPT
from trainer.data.sources.inspection import inspect_path, inspect_zip
from trainer.data.sources.source import BUILT_IN, TORCHVISION
from trainer.data.sources.torchvision import downloadable
from trainer.rundir.folder import TaskDir
from trainer.spec.tasks import DatasetRequest, OnUnreadable

router = APIRouter(prefix="/api/datasets", tags=["datasets"])


class NewDataset(BaseModel):
    """A new dataset: from a named source (JSON), or from an uploaded zip (multipart, without `source`).

    `manifest` is the content of a CSV or JSONL with the columns `file_name` and `label`, and optionally `split`,
    `group` and `weight`; in a multipart form it may also be a file. Without it, one that lies beside the images is
    used, such as `metadata.csv`; without any, folders are the classes. Images of one group are never parted by a split:
    groups are the manifest's column `group_column` (by default `group`), or the folders of level `group_level`, from 1.
    """

    model_config = ConfigDict(extra="forbid")

    name: str = Field(max_length=80)
    source: str | None = Field(None, max_length=1000)
    upload: str | None = Field(None, max_length=40, description="The id of a zip that was sent in chunks.")
    size: int | None = Field(
        None,
        strict=True,
        ge=SMALLEST_SIZE,
        le=LARGEST_SIZE,
        description="The side of the stored images in pixels; without it, that of the images if they are squares of "
        f"one size up to {LARGEST_KEPT}, else {DEFAULT_SIZE}.",
    )
    fit: Literal["crop", "pad", "squash"] = "crop"
    on_unreadable: OnUnreadable = "refuse"
    manifest: str | None = None
    group_level: int | None = Field(None, ge=1, le=64)
    group_column: str | None = Field(None, max_length=200)

    @field_validator("size", mode="before")
    @classmethod
    def size_of_a_form(cls, size: Any) -> Any:
        return int(size) if isinstance(size, str) and re.fullmatch("[0-9]{1,4}", size) else size


@router.post(
    "",
    status_code=202,
    responses=NEW_TASK | described({413: "The archive is too large", 507: "No space left on device"}),
    openapi_extra={
        "requestBody": {
            "required": True,
            "content": {
                "application/json": {"schema": NewDataset.model_json_schema()},
                "multipart/form-data": {
                    "schema": {
                        "type": "object",
                        "required": ["name"],
                        "properties": {
                            "file": {"type": "string", "format": "binary"},
                            **NewDataset.model_json_schema()["properties"],
                        },
                    }
                },
            },
        }
    },
)
async def add(
    request: Request,
    response: Response,
    tasks: TasksDep,
    settings: SettingsDep,
    uploads: FileUploadsDep,
    principal: PrincipalDep,
) -> TaskPublic:
    """Start adding a dataset. The task reports the progress. A zip is sent as `file`, or in chunks beforehand and named
    by `upload`."""
    if media_type(request) == MULTIPART:
        return located(await _add_upload(request, tasks, uploads, settings.uploads), response)
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > settings.max_body_bytes:
            raise ApiError(413, "too_large", "The body is too large.", headers={"Connection": "close"})
    try:
        values = orjson.loads(body)
    except orjson.JSONDecodeError:
        raise ApiError(400, "malformed_json", "The body is not valid JSON.") from None
    wanted = _checked(values)
    if wanted.upload is not None:
        async with (
            arrived(wanted, uploads, settings.uploads) as zip_,
            written_manifest(wanted, settings.uploads) as sent,
        ):
            return located(await run_in_threadpool(_create, tasks, wanted, sent, None, zip_), response)
    if wanted.source is None:
        raise invalid([(["source"], "is required")])
    zipped = None
    if wanted.source.startswith(TORCHVISION):
        downloadable(wanted.source.removeprefix(TORCHVISION))
    elif wanted.source != BUILT_IN:
        if principal is not None and Scope.ADMIN not in principal.scopes:
            message = f"The token {principal.token!r} may not name paths of the server's disk."
            raise ApiError(403, "scope_missing", message)
        if not await run_in_threadpool(check_path, wanted.source, settings):
            zipped = FilePath(wanted.source)
    async with written_manifest(wanted, settings.uploads) as manifest:
        made = await run_in_threadpool(_create, tasks, wanted, manifest, zipped)
    return located(made, response)


@asynccontextmanager
async def arrived(wanted: NewDataset, uploads: Uploads, folder: FilePath) -> AsyncIterator[ReceivedFile]:
    """The zip that was sent in chunks, which is deleted once it is imported. If the request is refused it stays, so
    that the name or the manifest can be put right without sending it again. Raises ApiError 404, 409."""
    assert wanted.upload is not None
    path, name = await run_in_threadpool(uploads.whole, wanted.upload)
    linked = folder / f"{path.stem}.zip"
    linked.unlink(missing_ok=True)
    linked.hardlink_to(path)
    try:
        yield ReceivedFile(linked, name)
        await run_in_threadpool(uploads.discard, wanted.upload)
    finally:
        linked.unlink(missing_ok=True)


@asynccontextmanager
async def written_manifest(wanted: NewDataset, folder: FilePath) -> AsyncIterator[ReceivedFile | None]:
    """A manifest that was sent as text, as a file in `folder`. Deleted at the end unless it has been moved."""
    if wanted.manifest is None:
        yield None
        return
    folder.mkdir(exist_ok=True)
    handle, name = tempfile.mkstemp(dir=folder)
    try:
        with os.fdopen(handle, "w", encoding="utf-8", newline="") as file:
            file.write(wanted.manifest)
        yield ReceivedFile(FilePath(name), "manifest")
    finally:
        FilePath(name).unlink(missing_ok=True)


def _create(
    tasks: Tasks,
    wanted: NewDataset,
    manifest: ReceivedFile | None,
    zipped: FilePath | None,
    upload: ReceivedFile | None = None,
) -> TaskPublic:
    """Queue the task. An upload, or a zip on the server's disk, is checked first."""
    values = wanted.model_dump(exclude={"manifest", "upload"})

    def request_for(folder: TaskDir) -> DatasetRequest:
        if upload is not None:
            values.update(source=str(folder.upload), label=upload_label(upload.name))
        if manifest is not None:
            values.update(manifest=str(folder.manifest), manifest_name=upload_label(manifest.name))
        return DatasetRequest(**values)

    def check(folder: TaskDir) -> None:
        found = folder.upload if upload is not None else zipped
        if found is not None:
            inspect_zip("dataset", found, request_for(folder).model_dump(mode="json"))

    return tasks.create_with_upload(
        upload.path if upload is not None else None,
        check,
        request_for,
        manifest=manifest.path if manifest is not None else None,
    )


def check_path(source: str, settings: Settings) -> bool:
    """Return whether a path on the server's disk is a folder, or else a file. Raises UnknownSource, UnreadableSource.

    Refused unless the host is the loopback: other machines could explore the disk.
    """
    if not is_loopback(settings.host):
        raise UnknownSource("Paths are taken only while Trackside listens on the loopback: use the command line.")
    path = FilePath(source)
    if not path.is_absolute() or "\0" in source:
        raise UnknownSource(f"There is no folder or zip at {source[:200]!r}; a path starts with /.")
    return inspect_path(path)


async def _add_upload(request: Request, tasks: Tasks, uploads: Uploads, folder: FilePath) -> TaskPublic:
    async with AsyncExitStack() as stack:
        form = await stack.enter_async_context(received_form(request, folder, also=("manifest",)))
        wanted = _checked({name: value for name, value in form.fields.items() if value != ""})
        if wanted.upload is None:
            file = form.required_file()
        elif form.files.get("file") is not None:
            raise invalid([(["file"], "omit `file` where an upload is given")])
        else:
            file = await stack.enter_async_context(arrived(wanted, uploads, folder))
        if wanted.source is not None:
            raise invalid([(["source"], "omit `file` where a source is given")])
        sent = form.files.get("manifest")
        if sent is not None and not sent.name and not sent.path.stat().st_size:
            sent = None  # of a form whose field was left empty
        manifest = await stack.enter_async_context(written_manifest(wanted, folder))
        return await run_in_threadpool(_create, tasks, wanted, sent or manifest, None, file)


def _checked(values: Any) -> NewDataset:
    wanted = checked(NewDataset, values)
    check_name(wanted.name)
    if wanted.upload is not None and wanted.source is not None:
        raise invalid([(["source"], "omit `source` where an upload is given")])
    return wanted
