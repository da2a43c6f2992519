"""The template context of a dataset's page: images, class balance, duplicates and label conflicts."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal
from urllib.parse import urlencode

import numpy as np
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from app.datasets.datasets import Datasets, checked_split
from app.datasets.editing import Usage
from app.datasets.notes import Note, dark
from app.datasets.order import Sort, chosen_rows
from app.datasets.validation import validation_of_dataset
from app.display.formatting import count
from app.fields import none_if_empty
from app.web.datasets.view import CELLS, Sample
from app.web.root import root
from trainer.data.errors import DatasetDamaged
from trainer.data.format import DatasetRecord, Split
from trainer.data.survey import Duplicates, Measures, RepeatedName, Statistics

GROUPS_PER_PAGE = 50  # groups of duplicates per page
NAMED = 5  # classes in a sentence
MEANS_COLUMNS = 10

View = Literal["images", "duplicates", "conflicts", "names"]
Optional = BeforeValidator(none_if_empty)

Place = tuple[Split, int]  # a split and the index of an image in it


class ExplorerQuery(BaseModel):
    """The query parameters of a dataset's page."""

    model_config = ConfigDict(populate_by_name=True)

    split: str = Field("train", max_length=20)
    chosen: Annotated[int | None, Field(alias="class", ge=0), Optional] = None
    superclass: Annotated[int | None, Field(ge=0), Optional] = None
    sort: Sort = "turns"
    view: View = "images"
    page: int = Field(1, ge=1, le=1_000_000)


@dataclass(frozen=True)
class ClassBar:
    """A class with its image counts; `val` are those of the dataset's own validation split.

    `train_width` and `test_width` are SVG lengths relative to the largest class; `mean_box` is the view box of the
    class's mean image in the sheet of mean images.
    """

    index: int
    label: str
    train: int
    val: int
    test: int
    train_width: str
    test_width: str
    mean_box: str


@dataclass(frozen=True)
class GroupCell:
    cells: tuple[Sample, ...]
    conflict: bool


@dataclass(frozen=True)
class DatasetPage:
    """`/datasets/{name}`: a page of CELLS images, or of GROUPS_PER_PAGE groups of duplicates.

    `validation` says how runs on the dataset are validated.
    `statistics` is None until they have been computed; `failed` says that this failed. `sheet` is the size in pixels of
    the sheet of mean images. `uneven` is the size of the largest class divided by that of the smallest.
    """

    record: DatasetRecord
    usage: Usage
    query: ExplorerQuery
    cells: tuple[Sample, ...]
    groups: tuple[GroupCell, ...]
    bars: tuple[ClassBar, ...]
    pages: int
    total: int
    statistics: Statistics | None
    failed: bool
    sheet: tuple[int, int]
    uneven: float
    validation: str
    section: str = "datasets"
    sorts: tuple[tuple[Sort, str], ...] = (
        ("turns", "interleaved by class"),
        ("number", "file order"),
        ("darkest", "darkest first"),
        ("brightest", "brightest first"),
        ("flattest", "low contrast first"),
    )

    @property
    def dark(self) -> Note | None:
        return dark(self.record)

    @property
    def superclasses(self) -> list[tuple[int, str]]:
        """The superclasses with their numbers, sorted as the classes are."""
        return sorted(enumerate(self.record.superclasses or ()), key=lambda pair: pair[1].casefold())

    @property
    def count_of(self) -> dict[str, int]:
        """The number of groups of each kind of duplicate and conflict."""
        found = self.statistics
        if found is None:
            return {}
        return {
            "duplicates": len(found.duplicates),
            "train": len(found.groups("train")),
            "test": len(found.groups("test")),
            "val": len(found.groups("val")),
            "across": len(found.groups("across")),
            "conflicts": len(found.groups(conflict=True)),
            "names": len(found.repeated_names),
        }

    @property
    def changes(self) -> str:
        """What differs from the version before, in words; "" if there is none."""
        found = None if self.statistics is None else self.statistics.changes
        if found is None:
            return ""
        if not found.comparable:
            return f"A later version of {found.since}, of another size or fit: its images cannot be compared."
        parts = [f"{count(getattr(found, kind))} images {kind}" for kind in ("added", "removed", "relabeled")]
        parts.append(f"{count(found.moved)} in another split")
        for kind, names in (("new", found.added_classes), ("removed", found.removed_classes)):
            if names:
                more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
                parts.append(f"{kind} class{'es' if len(names) > 1 else ''} {', '.join(names[:NAMED])}{more}")
        return f"Changes since {found.since}: {'; '.join(parts)}."

    def link(self, **changed: Any) -> str:
        """The URL of this page with changed parameters, on its first page unless `page` is given."""
        defaults = ExplorerQuery().model_dump(by_alias=True)
        query = self.query.model_dump(by_alias=True) | {"page": 1} | changed
        kept = {name: value for name, value in query.items() if value not in (None, defaults.get(name))}
        return f"{root()}/datasets/{self.record.name}" + (f"?{urlencode(kept)}" if kept else "")


def dataset_page(
    datasets: Datasets,
    record: DatasetRecord,
    usage: Usage,
    query: ExplorerQuery,
    measured: tuple[Statistics, Measures] | None,
    *,
    failed: bool,
) -> DatasetPage:
    """The page's context. Raises ApiError 404: unknown split."""
    statistics, measures = (None, None) if measured is None else measured
    split = checked_split(record, query.split)
    labels = datasets.labels(record.name, split)
    first = (query.page - 1) * CELLS
    rows = chosen_rows(labels, split, classes=_classes(record, query), sort=query.sort, measures=measures)
    shown = [int(row) for row in rows[first : first + CELLS]]
    files = _files(datasets, record, ((split, row) for row in shown))
    cells = tuple(Sample(split, row, record.classes[int(labels[row])], files[split, row]) for row in shown)
    groups: tuple[GroupCell, ...] = ()
    total, per_page = len(rows), CELLS
    if query.view != "images" and statistics is not None:
        found = flagged_groups(statistics, query.view)
        total, per_page = len(found), GROUPS_PER_PAGE
        start = (query.page - 1) * GROUPS_PER_PAGE
        some = found[start : start + GROUPS_PER_PAGE]
        places = ((image.split, image.index) for group in some for image in group.images)
        files = _files(datasets, record, places)
        groups = tuple(_group(record, group, files) for group in some)
    bars = _bars(record, datasets, measures)
    sizes = [bar.train for bar in bars]
    return DatasetPage(
        record=record,
        usage=usage,
        query=query,
        cells=cells,
        groups=groups,
        bars=tuple(sorted(bars, key=lambda bar: bar.label.casefold())),
        pages=max(1, -(-total // per_page)),
        total=total,
        statistics=statistics,
        failed=failed,
        sheet=(0, 0) if measures is None else sheet_size(measures),
        uneven=max(sizes) / max(1, min(sizes)),
        validation=validation_of_dataset(
            record.classes, sizes, [bar.val for bar in bars], grouped=record.groups is not None
        ),
    )


def _files(datasets: Datasets, record: DatasetRecord, places: Iterable[Place]) -> Mapping[Place, str]:
    """The file names of the images at these places; empty ones of a split whose list of names is damaged."""
    rows = defaultdict(list)
    for split, row in places:
        rows[split].append(row)
    found: dict[Place, str] = {}
    for split, wanted in rows.items():
        try:
            names = datasets.files_of(record.name, split, wanted)
        except DatasetDamaged:
            names = [""] * len(wanted)
        found |= zip(((split, row) for row in wanted), names, strict=True)
    return found


def flagged_groups(statistics: Statistics, view: View) -> Sequence[Duplicates | RepeatedName]:
    if view == "names":
        return statistics.repeated_names
    return statistics.groups(conflict=True) if view == "conflicts" else statistics.duplicates


def sheet_size(measures: Measures) -> tuple[int, int]:
    """(width, height) in pixels of the sheet of mean images."""
    count, side = measures.means.shape[:2]
    return MEANS_COLUMNS * side, -(-count // MEANS_COLUMNS) * side


def _classes(record: DatasetRecord, query: ExplorerQuery) -> list[int] | None:
    if query.chosen is not None:
        return [query.chosen]
    if query.superclass is not None and record.fine_to_coarse is not None:
        return [index for index, coarse in enumerate(record.fine_to_coarse) if coarse == query.superclass]
    return None


def _group(record: DatasetRecord, group: Duplicates | RepeatedName, files: Mapping[Place, str]) -> GroupCell:
    cells = tuple(
        Sample(image.split, image.index, record.classes[image.label], files[image.split, image.index])
        for image in group.images
    )
    return GroupCell(cells, len({cell.label for cell in cells}) > 1)


def _bars(record: DatasetRecord, datasets: Datasets, measures: Measures | None) -> tuple[ClassBar, ...]:
    classes = len(record.classes)
    count_of = {split: np.bincount(datasets.labels(record.name, split), minlength=classes) for split in record.splits}
    train, test = count_of["train"], count_of["test"]
    val = count_of.get("val", np.zeros_like(test))
    largest = max(1, int(train.max()), int(test.max()))
    side = 1 if measures is None else measures.means.shape[1]
    return tuple(
        ClassBar(
            index,
            label,
            int(train[index]),
            int(val[index]),
            int(test[index]),
            f"{100 * train[index] / largest:.1f}%",
            f"{100 * test[index] / largest:.1f}%",
            f"{index % MEANS_COLUMNS * side} {index // MEANS_COLUMNS * side} {side} {side}",
        )
        for index, label in enumerate(record.classes)
    )
