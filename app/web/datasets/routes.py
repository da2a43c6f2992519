from __future__ import annotations

from collections import Counter
from functools import partial
from pathlib import Path as FilePath
from typing import Annotated, Any, Literal

import orjson
from fastapi import APIRouter, Path, Request, Response
from fastapi.concurrency import run_in_threadpool
from pydantic import BaseModel, ConfigDict, Field, field_validator

from app.auth.exposure import is_loopback
from app.auth.scopes import Scope
from app.datasets.validation import validation_of_dataset
from app.errors import ApiError, invalid
from app.fields import RequestBody
from app.jobs.tasks import TaskPublic, Tasks
from app.settings import Settings
from app.web.errors import described
from app.web.forms import checked
from app.web.location import NEW_TASK, located
from app.web.multipart import MULTIPART, media_type
from app.web.services import DatasetEditorDep, DatasetsDep, PrincipalDep, SettingsDep, StatisticsDep, TasksDep
from app.web.upload_file import received_form
from trainer.data.errors import UnknownSource
from trainer.data.format import SIZES, SPLITS, DatasetRecord, check_name
from trainer.data.sources.inspection import inspect_path, inspect_zip
from trainer.data.sources.layout import plan_layout
from trainer.data.sources.source import BUILT_IN, TORCHVISION
from trainer.data.sources.torchvision import downloadable
from trainer.spec.tasks import DatasetRequest, OnUnreadable

router = APIRouter(prefix="/api/datasets", tags=["datasets"])

NO_DATASET = described({404: "No such dataset"})
PNG: dict[str, Any] = {"content": {"image/png": {"schema": {"type": "string", "format": "binary"}}}}
LISTED_FILES = 20_000


class NewDataset(BaseModel):
    """A new dataset: from a named source (JSON), or from an uploaded zip (multipart, without `source`)."""

    model_config = ConfigDict(extra="forbid")

    name: str = Field(max_length=80)
    source: str | None = Field(None, max_length=1000)
    size: Literal[32, 64, 128, 224] | None = None
    fit: Literal["crop", "pad", "squash"] = "crop"
    on_unreadable: OnUnreadable = "refuse"

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


class FileList(BaseModel):
    model_config = ConfigDict(extra="forbid")

    files: list[Annotated[str, Field(max_length=1024)]] = Field(min_length=1, max_length=LISTED_FILES)


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
    other_files: dict[str, int] = Field(description="Files that are no images by their names, counted by ending.")


@router.post("/layout")
def layout(body: FileList) -> PlannedLayout:
    """Return the classes that files with these relative paths would make, before any is uploaded."""
    planned = plan_layout(body.files)
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
            planned.classes, [item.train for item in classes], [item.val for item in classes]
        ),
        test_drawn=planned.test_drawn,
        other_files=planned.other_files,
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
    if wanted.source.startswith(TORCHVISION):
        downloadable(wanted.source.removeprefix(TORCHVISION))
    elif wanted.source != BUILT_IN:
        if principal is not None and Scope.ADMIN not in principal.scopes:
            message = f"The token {principal.token!r} may not name paths of the server's disk."
            raise ApiError(403, "scope_missing", message)
        await run_in_threadpool(check_path, wanted.source, settings)
    adding = DatasetRequest(**wanted.model_dump())
    return located(await run_in_threadpool(lambda: tasks.create(tasks.new_folder(), adding)), response)


def check_path(source: str, settings: Settings) -> None:
    """Check a source on the server's disk. Raises UnknownSource: it does not exist, or the host is not the loopback.

    Otherwise other machines could explore the disk. Also raises UnreadableSource and what is wrong with a zip.
    """
    if not is_loopback(settings.host):
        raise UnknownSource("Paths are taken only while Trackside listens on the loopback: use the command line.")
    path = FilePath(source)
    if not path.is_absolute() or "\0" in source:
        raise UnknownSource(f"There is no folder or zip at {source[:200]!r}; a path starts with /.")
    if not inspect_path(path):
        inspect_zip("dataset", path)


async def _add_upload(request: Request, tasks: Tasks, folder: FilePath) -> TaskPublic:
    async with received_form(request, folder) as form:
        file = form.required_file()
        wanted = _checked({name: value for name, value in form.fields.items() if value != ""})
        if wanted.source is not None:
            raise invalid([(["source"], "omit `file` where a source is given")])

        def request_for(source: str, label: str) -> DatasetRequest:
            return DatasetRequest(**wanted.model_dump(exclude={"source"}), source=source, label=label)

        check = partial(inspect_zip, "dataset")
        return await run_in_threadpool(tasks.create_with_upload, file, form.filename, check, request_for)


def _checked(values: Any) -> NewDataset:
    wanted = checked(NewDataset, values)
    check_name(wanted.name)
    return wanted
