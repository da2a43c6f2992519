"""Statistics of a dataset: class counts, exact duplicates, label conflicts, mean images, brightness and contrast.

Images are read in blocks from the memory-mapped arrays; of each image, some 100 bytes are held (digests, labels, the
file name). Free of torch.
"""

from __future__ import annotations

import hashlib
import io
import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, Field

from trainer.data.format import DatasetRecord, Images, Split, open_split, read_files, read_record
from trainer.data.versions import Changes, Digests, changes, earlier_version
from trainer.system.durable import write_durably

STATISTICS_FILE = "statistics.json"
MEASURES_FILE = "measures.npz"
BLOCK_BYTES = 16 << 20
NICE = 10  # of the process that runs this module, so that training has priority
LARGEST_MEAN = 64  # px; mean images of larger images are subsampled
MOST_GROUPS = 10_000

Where = Literal["train", "test", "val", "across"]


class Twin(BaseModel):
    """One image of a group: its split, row and class."""

    split: Split
    index: int
    label: int


class Duplicates(BaseModel):
    """Bitwise identical images. `where` is the split that holds them, or "across" if several do."""

    images: list[Twin]
    where: Where
    conflict: bool = Field(description="Whether they carry different labels")


class RepeatedName(BaseModel):
    split: Split
    file: str
    images: list[Twin]


class Statistics(BaseModel):
    counts: dict[Split, list[int]] = Field(description="Images of each class")
    duplicates: list[Duplicates] = Field(description=f"At most {MOST_GROUPS:,} groups")
    repeated_names: list[RepeatedName] = Field(description="One file name in a split under different classes")
    changes: Changes | None = Field(None, description="Of a later version, what differs from the one before it.")

    def groups(self, where: Where | None = None, *, conflict: bool | None = None) -> list[Duplicates]:
        return [
            group
            for group in self.duplicates
            if (where is None or group.where == where) and (conflict is None or group.conflict == conflict)
        ]


@dataclass(frozen=True)
class Measures:
    """`means` uint8 (C, side, side, 3), black for a class without images. `brightness` and `contrast`, float32 (n,) per
    split: mean and standard deviation of an image's pixels, on a scale of 0 to 255."""

    means: npt.NDArray[np.uint8]
    brightness: dict[Split, npt.NDArray[np.float32]]
    contrast: dict[Split, npt.NDArray[np.float32]]


def measure(root: Path, name: str) -> tuple[Statistics, Measures]:
    """Compute a dataset's statistics. Raises DatasetMissing, DatasetDamaged."""
    record = read_record(root, name)
    classes = len(record.classes)
    counts: dict[Split, list[int]] = {}
    brightness: dict[Split, npt.NDArray[np.float32]] = {}
    contrast: dict[Split, npt.NDArray[np.float32]] = {}
    digests: dict[Split, Digests] = {}
    labels: dict[Split, npt.NDArray[np.int64]] = {}
    step = -(-record.size // LARGEST_MEAN)
    side = len(range(0, record.size, step))
    sums = np.zeros((classes, side, side, 3))
    for split in record.splits:
        images, labels[split] = open_split(root, name, split)
        counts[split] = np.bincount(labels[split], minlength=classes).tolist()
        brightness[split], contrast[split] = np.empty((2, len(images)), np.float32)
        digests[split] = np.empty((len(images), 2), np.uint64)
        for first, block in _blocks(images):
            part = slice(first, first + len(block))
            flat = block.reshape(len(block), -1)
            brightness[split][part] = flat.mean(1)
            contrast[split][part] = flat.std(1)
            if split == "train":
                _add_by_class(sums, block[:, ::step, ::step], labels[split][part])
            for index, image in enumerate(flat, first):
                digests[split][index] = _digest(image.data)
    means = sums / np.maximum(1, np.array(counts["train"]))[:, None, None, None]
    statistics = Statistics(
        counts=counts,
        duplicates=_duplicates(digests, labels),
        repeated_names=_repeated_names(root, name, labels),
        changes=_changes(root, record, digests, labels),
    )
    return statistics, Measures(means.round().astype(np.uint8), brightness, contrast)


def _changes(
    root: Path, record: DatasetRecord, digests: dict[Split, Digests], labels: dict[Split, npt.NDArray[np.int64]]
) -> Changes | None:
    before = earlier_version(root, record.name)
    if before is None:
        return None
    if (before.size, before.fit) != (record.size, record.fit):
        return Changes(since=before.name, comparable=False)
    earlier_digests: dict[Split, Digests] = {}
    earlier_labels: dict[Split, npt.NDArray[np.int64]] = {}
    for split in before.splits:
        images, earlier_labels[split] = open_split(root, before.name, split)
        earlier_digests[split] = np.empty((len(images), 2), np.uint64)
        for first, block in _blocks(images):
            for index, image in enumerate(block.reshape(len(block), -1), first):
                earlier_digests[split][index] = _digest(image.data)
    return changes(before, record, (earlier_digests, digests), (earlier_labels, labels))


def _duplicates(digests: dict[Split, Digests], labels: dict[Split, npt.NDArray[np.int64]]) -> list[Duplicates]:
    splits = list(labels)
    starts = np.cumsum([0, *map(len, labels.values())])
    all_labels = np.concatenate(list(labels.values()))
    groups = []
    for rows in islice(_equal(np.concatenate([digests[split] for split in splits])), MOST_GROUPS):
        places = [(row, int(np.searchsorted(starts, row, "right")) - 1) for row in rows.tolist()]
        twins = [
            Twin(split=splits[place], index=row - int(starts[place]), label=int(all_labels[row]))
            for row, place in places
        ]
        groups.append(_group(twins))
    return groups


def _repeated_names(root: Path, name: str, labels: dict[Split, npt.NDArray[np.int64]]) -> list[RepeatedName]:
    """The file names of several classes; none where that holds of every fourth: files that are numbered per class
    repeat their names by design."""
    repeated: list[RepeatedName] = []
    found = distinct = 0
    for split in labels:
        names = [file.rsplit("/", 1)[-1] for file in read_files(root, name, split)]
        digests = np.empty((len(names), 2), np.uint64)
        for index, file in enumerate(names):
            digests[index] = _digest(file.encode())
        distinct += len(names)
        for rows in _equal(digests):
            distinct -= len(rows) - 1
            own = labels[split][rows]
            if own.min() == own.max():
                continue
            found += 1
            if len(repeated) < MOST_GROUPS:
                twins = [
                    Twin(split=split, index=row, label=label)
                    for row, label in zip(rows.tolist(), own.tolist(), strict=True)
                ]
                repeated.append(RepeatedName(split=split, file=names[rows[0]], images=twins))
    return [] if found > distinct // 4 else repeated


def _digest(data: bytes | memoryview) -> tuple[int, int]:
    digest = hashlib.blake2b(data, digest_size=16).digest()
    return int.from_bytes(digest[:8], "little"), int.from_bytes(digest[8:], "little")


def _equal(digests: Digests) -> Iterator[npt.NDArray[np.int64]]:
    """Yield the rows of each digest that comes more than once, in the order of their first rows."""
    if not len(digests):
        return
    order = np.lexsort((digests[:, 1], digests[:, 0]))  # stable: rows of a group ascend
    ordered = digests[order]
    starts = np.flatnonzero(np.r_[True, (ordered[1:] != ordered[:-1]).any(1)])
    ends = np.r_[starts[1:], len(order)]
    several = np.flatnonzero(ends - starts > 1)
    for group in several[np.argsort(order[starts[several]])]:
        yield order[starts[group] : ends[group]]


def write(root: Path, name: str, folder: Path) -> None:
    """Compute a dataset's statistics and write them into `folder`: measures.npz, then statistics.json."""
    statistics, measures = measure(root, name)
    folder.mkdir(parents=True, exist_ok=True)
    arrays = {f"brightness.{split}": values for split, values in measures.brightness.items()}
    arrays |= {f"contrast.{split}": values for split, values in measures.contrast.items()}
    written = io.BytesIO()
    np.savez(written, means=measures.means, **arrays)  # type: ignore[arg-type]
    write_durably(folder / MEASURES_FILE, written.getvalue())
    write_durably(folder / STATISTICS_FILE, statistics.model_dump_json().encode())


def read(folder: Path) -> tuple[Statistics, Measures] | None:
    """Read what `write` wrote into `folder`; None if it is missing or invalid."""
    try:
        statistics = Statistics.model_validate_json((folder / STATISTICS_FILE).read_bytes())
        with np.load(folder / MEASURES_FILE) as kept:
            brightness, contrast = (
                {split: kept[f"{what}.{split}"] for split in statistics.counts} for what in ("brightness", "contrast")
            )
            return statistics, Measures(kept["means"], brightness, contrast)
    except (FileNotFoundError, ValueError):
        return None


def _blocks(images: Images) -> Iterator[tuple[int, Images]]:
    """Yield (first row, images in memory) per block."""
    rows = max(1, BLOCK_BYTES // max(1, images[:1].nbytes)) if len(images) else 1
    for first in range(0, len(images), rows):
        yield first, np.ascontiguousarray(images[first : first + rows])


def _add_by_class(sums: npt.NDArray[np.float64], images: Images, labels: npt.NDArray[np.int64]) -> None:
    order = np.argsort(labels, kind="stable")
    present, starts = np.unique(labels[order], return_index=True)
    sums[present] += np.add.reduceat(images[order], starts, axis=0, dtype=np.int64)


def _group(twins: list[Twin]) -> Duplicates:
    splits = {twin.split for twin in twins}
    where: Where = "across" if len(splits) > 1 else twins[0].split
    return Duplicates(images=twins, where=where, conflict=len({twin.label for twin in twins}) > 1)


if __name__ == "__main__":
    os.nice(NICE)
    write(Path(sys.argv[1]), sys.argv[2], Path(sys.argv[3]))
