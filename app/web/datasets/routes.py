"""The datasets: their records, images and names, and what an import of files would make of them."""

from __future__ import annotations

from collections import Counter
from typing import Annotated, Any

from fastapi import APIRouter, Path, Query, Response
from pydantic import Base64Bytes, BaseModel, ConfigDict, Field

from app.datasets.validation import validation_of_dataset
from app.fields import RequestBody
from app.web.errors import described
from app.web.services import DatasetEditorDep, DatasetsDep, StatisticsDep
from trainer.data.format import LARGEST_SIZE, SPLITS, DatasetRecord
from trainer.data.sources.labelled import Labelling, plan_import
from trainer.data.sources.manifest import read_manifest

router = APIRouter(prefix="/api/datasets", tags=["datasets"])

NO_DATASET = described({404: "No such dataset"})
PNG: dict[str, Any] = {"content": {"image/png": {"schema": {"type": "string", "format": "binary"}}}}
LISTED_FILES = 20_000


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
def image(
    name: str,
    split: str,
    index: Annotated[int, Path(ge=0, le=2**40)],
    datasets: DatasetsDep,
    side: Annotated[int | None, Query(ge=1, le=LARGEST_SIZE, description="Reduce a larger image to this side.")] = None,
) -> Response:
    headers = {"Cache-Control": "private, max-age=3600"}
    return Response(datasets.image_png(name, split, index, side), media_type="image/png", headers=headers)


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
