from __future__ import annotations

import os
import tempfile
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path as FilePath
from typing import Annotated, Any, Literal

import orjson
from fastapi import APIRouter, Path, Request, Response
from fastapi.concurrency import run_in_threadpool
from pydantic import Base64Bytes, BaseModel, ConfigDict, Field, field_validator

from app.auth.exposure import is_loopback
from app.auth.scopes import Scope
from app.datasets.validation import validation_of_dataset
from app.errors import ApiError, invalid
from app.fields import RequestBody
from app.jobs.tasks import TaskPublic, Tasks, upload_label
from app.settings import Settings
from app.web.errors import described
from app.web.forms import checked
from app.web.location import NEW_TASK, located
from app.web.multipart import MULTIPART, media_type
from app.web.services import DatasetEditorDep, DatasetsDep, PrincipalDep, SettingsDep, StatisticsDep, TasksDep
from app.web.upload_file import ReceivedFile, received_form
from trainer.data.errors import UnknownSource
from trainer.data.format import SIZES, SPLITS, DatasetRecord, check_name
from trainer.data.sources.inspection import inspect_path, inspect_zip
from trainer.data.sources.labelled import Labelling, plan_import
from trainer.data.sources.manifest import read_manifest
from trainer.data.sources.source import BUILT_IN, TORCHVISION
from trainer.data.sources.torchvision import downloadable
from trainer.rundir.folder import TaskDir
from trainer.spec.tasks import DatasetRequest, OnUnreadable

router = APIRouter(prefix="/api/datasets", tags=["datasets"])

NO_DATASET = described({404: "No such dataset"})
PNG: dict[str, Any] = {"content": {"image/png": {"schema": {"type": "string", "format": "binary"}}}}
LISTED_FILES = 20_000


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
    size: Literal[32, 64, 128, 224] | None = None
    fit: Literal["crop", "pad", "squash"] = "crop"
    on_unreadable: OnUnreadable = "refuse"
    manifest: str | None = None
    group_level: int | None = Field(None, ge=1, le=64)
    group_column: str | None = Field(None, max_length=200)

    @field_validator("size", mode="before")
    @classmethod
    def size_of_a_form(cls, size: Any) -> Any:
        return int(size) if size in map(str, SIZES) else size


@router.get("")
def list_datasets(datasets: DatasetsDep) -> list[DatasetRecord]:
    return datasets.list()


@router.get("/{name}", responses=NO_DATASET)
def get(name: str, datasets: DatasetsDep) -> DatasetRecord:
    return datasets.get(name)


class DatasetPatch(RequestBody):
    name: str = Field(max_length=80)


CHANGED: dict[int | str, str] = {404: "No such dataset", 409: "A run that has not ended uses it"}


@router.patch("/{name}", responses=described(CHANGED | {409: f"{CHANGED[409]}, or the new name is taken"}))
def rename(
    name: str, body: DatasetPatch, datasets: DatasetsDep, editor: DatasetEditorDep, statistics: StatisticsDep
) -> DatasetRecord:
    """Rename a dataset. Its runs are on the dataset of the new name from then on."""
    before = datasets.get(name)
    renamed = editor.rename(name, body.name)
    statistics.forget(before)
    return renamed


@router.delete("/{name}", status_code=204, responses=described(CHANGED))
def delete(name: str, datasets: DatasetsDep, editor: DatasetEditorDep, statistics: StatisticsDep) -> None:
    """Delete a dataset. Its runs keep their curves, results and models; their images are no longer shown."""
    before = datasets.find(name)
    editor.delete(name)
    if before is not None:
        statistics.forget(before)


@router.get(
    "/{name}/images/{split}/{index}.png",
    response_class=Response,
    responses={**described({404: "No such image"}), 200: PNG},
)
def image(name: str, split: str, index: Annotated[int, Path(ge=0, le=2**40)], datasets: DatasetsDep) -> Response:
    headers = {"Cache-Control": "private, max-age=3600"}
    return Response(datasets.image_png(name, split, index), media_type="image/png", headers=headers)


class ManifestContent(BaseModel):
    model_config = ConfigDict(extra="forbid")

    name: str = Field(max_length=200)
    content: Base64Bytes


class FileList(BaseModel):
    model_config = ConfigDict(extra="forbid")

    files: list[Annotated[str, Field(max_length=1024)]] = Field(min_length=1, max_length=LISTED_FILES)
    contents: dict[str, Base64Bytes] = Field(
        default={}, description="The contents, in base64, of those of the files that may be manifests."
    )
    manifest: ManifestContent | None = Field(None, description="A manifest that does not lie beside the images.")
    group_level: int | None = Field(None, ge=1, le=64)
    group_column: str | None = Field(None, max_length=200)


class PlannedClass(BaseModel):
    name: str
    superclass: str | None
    train: int
    val: int
    test: int


class PlannedLayout(BaseModel):
    """The classes that an import would create, and their numbers of images."""

    classes: list[PlannedClass]
    train: int
    val: int = Field(
        description="Images of the own validation split; 0 if runs hold out a share of the training images."
    )
    test: int
    validation: str = Field(description="How runs on the dataset are validated, in words.")
    test_drawn: bool = Field(description="The test images are drawn from the training images.")
    other_files: dict[str, int] = Field(description="Files that are not imported, counted by ending.")
    manifest: str = Field(description="The file that names the classes, empty if folders do.")
    columns: list[str] = Field(description="The columns of the manifest that may be groups.")
    groups: int | None = Field(description="The number of groups; null if images are independent.")
    shared_groups: int = Field(description="Groups with training images, and with test or validation images too.")


@router.post("/layout")
def layout(body: FileList) -> PlannedLayout:
    """Return the classes that files with these relative paths would make, before any is uploaded."""
    given = body.manifest
    manifest = None
    if given is not None:
        manifest = read_manifest(given.name, given.content, group_column=body.group_column)
    planned = plan_import(
        body.files,
        [],
        lambda name: body.contents.get(name, b""),
        Labelling(group_level=body.group_level, group_column=body.group_column),
        given=manifest,
    )
    groups_of = {split: {item.group for item in members} for split, members in planned.members.items()}
    others = set().union(*(groups for split, groups in groups_of.items() if split != "train"))
    counts = {split: Counter(member.label for member in planned.members.get(split, [])) for split in SPLITS}
    classes = [
        PlannedClass(
            name=name,
            superclass=planned.superclasses[planned.fine_to_coarse[label]]
            if planned.superclasses and planned.fine_to_coarse
            else None,
            train=counts["train"][label],
            val=counts["val"][label],
            test=counts["test"][label],
        )
        for label, name in enumerate(planned.classes)
    ]
    return PlannedLayout(
        classes=classes,
        train=counts["train"].total(),
        val=counts["val"].total(),
        test=counts["test"].total(),
        validation=validation_of_dataset(
            planned.classes,
            [item.train for item in classes],
            [item.val for item in classes],
            grouped=planned.groups is not None,
        ),
        test_drawn=planned.test_drawn,
        other_files=planned.other_files,
        manifest=planned.manifest,
        columns=planned.columns,
        groups=None if planned.groups is None else len(planned.groups),
        shared_groups=0 if planned.groups is None else len(groups_of["train"] & others),
    )


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
                        "required": ["file", "name"],
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
    request: Request, response: Response, tasks: TasksDep, settings: SettingsDep, principal: PrincipalDep
) -> TaskPublic:
    """Start adding a dataset. The task reports the progress."""
    if media_type(request) == MULTIPART:
        return located(await _add_upload(request, tasks, settings.uploads), response)
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
    values = wanted.model_dump(exclude={"manifest"})

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


async def _add_upload(request: Request, tasks: Tasks, folder: FilePath) -> TaskPublic:
    async with received_form(request, folder, also=("manifest",)) as form:
        file = form.required_file()
        wanted = _checked({name: value for name, value in form.fields.items() if value != ""})
        if wanted.source is not None:
            raise invalid([(["source"], "omit `file` where a source is given")])
        sent = form.files.get("manifest")
        if sent is not None and not sent.name and not sent.path.stat().st_size:
            sent = None  # of a form whose field was left empty
        async with written_manifest(wanted, folder) as manifest:
            return await run_in_threadpool(_create, tasks, wanted, sent or manifest, None, file)


def _checked(values: Any) -> NewDataset:
    wanted = checked(NewDataset, values)
    check_name(wanted.name)
    return wanted
