"""What changed between two versions of a dataset: birds@2 is what was imported as birds after birds. Free of torch."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, Field

from trainer.data.errors import DatasetError
from trainer.data.format import DatasetRecord, Split, earlier_names, read_record

Digests = npt.NDArray[np.uint64]  # (n, 2): 128 bits per image
Labels = npt.NDArray[np.int64]


class Changes(BaseModel):
    """Images are the same if their pixels are, so `comparable` is false if the versions differ in size or fit."""

    since: str = Field(description="The version before this one.")
    comparable: bool = True
    added: int = 0
    removed: int = 0
    relabeled: int = Field(0, description="Images of both versions whose classes differ.")
    moved: int = Field(0, description="Images of both versions that are in other splits.")
    added_classes: list[str] = []
    removed_classes: list[str] = []


def earlier_version(root: Path, name: str) -> DatasetRecord | None:
    """The version before `name`, or the latest before it that still exists; None if there is none."""
    for earlier in earlier_names(name):
        try:
            return read_record(root, earlier)
        except DatasetError:
            continue
    return None


def changes(
    before: DatasetRecord,
    after: DatasetRecord,
    digests: tuple[dict[Split, Digests], dict[Split, Digests]],
    labels: tuple[dict[Split, Labels], dict[Split, Labels]],
) -> Changes:
    """Compare two versions by the digests of their images and their labels, (before, after), both by split.

    An image that a version has several times counts that often as added or removed, and once as relabeled or moved.
    """
    names = sorted({*before.classes, *after.classes})
    number = {name: index for index, name in enumerate(names)}
    splits: list[Split] = ["train", "val", "test"]
    rows = [np.concatenate([own[split] for split in own]) for own in digests]
    classes = [
        np.concatenate([np.array([number[name] for name in record.classes])[own[split]] for split in own])
        for record, own in zip((before, after), labels, strict=True)
    ]
    places = [np.concatenate([np.full(len(own[split]), splits.index(split)) for split in own]) for own in labels]
    _, images = np.unique(np.concatenate(rows), axis=0, return_inverse=True)
    parts = np.split(images.reshape(-1), [len(rows[0])])
    count = int(images.max(initial=-1)) + 1
    times = [np.bincount(part, minlength=count) for part in parts]
    in_both = (times[0] > 0) & (times[0] == times[1])
    return Changes(
        since=before.name,
        added=int(np.maximum(0, times[1] - times[0]).sum()),
        removed=int(np.maximum(0, times[0] - times[1]).sum()),
        relabeled=int((in_both & _differ(parts, classes, count, len(names))).sum()),
        moved=int((in_both & _differ(parts, places, count, len(splits))).sum()),
        added_classes=[name for name in after.classes if name not in set(before.classes)],
        removed_classes=[name for name in before.classes if name not in set(after.classes)],
    )


def _differ(parts: list[Labels], values: list[Labels], count: int, most: int) -> npt.NDArray[np.bool_]:
    """Of each image, whether the two versions give its copies other values, in whatever order."""
    weights = np.random.default_rng(0).integers(0, 2**40, most).astype(np.float64)  # sums of them are exact
    sums = [np.bincount(part, weights[value], count) for part, value in zip(parts, values, strict=True)]
    found: npt.NDArray[np.bool_] = sums[0] != sums[1]
    return found
