"""Statistics of a dataset: class counts, exact duplicates, label conflicts, mean images, brightness and contrast.

Images are read in blocks from the memory-mapped arrays: a large dataset takes no more memory than a small one. Free of
torch.
"""

from __future__ import annotations

import hashlib
import io
import os
import sys
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, Field

from trainer.data.format import SPLITS, Images, Split, open_split, read_files, read_record
from trainer.system.durable import write_durably

STATISTICS_FILE = "statistics.json"
MEASURES_FILE = "measures.npz"
BLOCK_BYTES = 16 << 20
NICE = 10  # of the process that runs this module, so that training has priority
LARGEST_MEAN = 64  # px; mean images of larger images are subsampled
MOST_GROUPS = 10_000

Where = Literal["train", "test", "across"]


class Twin(BaseModel):
    """One image of a group: its split, row and class."""

    split: Split
    index: int
    label: int


class Duplicates(BaseModel):
    """Bitwise identical images. `where` is the split that holds them, or "across" if both do."""

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
    same: defaultdict[bytes, list[Twin]] = defaultdict(list)
    names: defaultdict[tuple[Split, str], list[Twin]] = defaultdict(list)
    step = -(-record.size // LARGEST_MEAN)
    side = len(range(0, record.size, step))
    sums = np.zeros((classes, side, side, 3))
    for split in SPLITS:
        images, labels = open_split(root, name, split)
        counts[split] = np.bincount(labels, minlength=classes).tolist()
        brightness[split], contrast[split] = np.empty((2, len(images)), np.float32)
        for first, block in _blocks(images):
            part = slice(first, first + len(block))
            flat = block.reshape(len(block), -1)
            brightness[split][part] = flat.mean(1)
            contrast[split][part] = flat.std(1)
            if split == "train":
                _add_by_class(sums, block[:, ::step, ::step], labels[part])
            for index, image in enumerate(flat, first):
                same[hashlib.blake2b(image.data, digest_size=16).digest()].append(
                    Twin.model_construct(split=split, index=index, label=int(labels[index]))
                )
        for index, file in enumerate(read_files(root, name, split)):
            twin = Twin.model_construct(split=split, index=index, label=int(labels[index]))
            names[split, file.rsplit("/", 1)[-1]].append(twin)
    means = sums / np.maximum(1, np.array(counts["train"]))[:, None, None, None]
    groups = [_group(twins) for twins in same.values() if len(twins) > 1]
    repeated = [
        RepeatedName(split=split, file=file, images=twins)
        for (split, file), twins in names.items()
        if len({twin.label for twin in twins}) > 1
    ]
    # Where files are numbered per class, names repeat by design: that is not reported.
    if len(repeated) > len(names) // 4:
        repeated = []
    statistics = Statistics(counts=counts, duplicates=groups[:MOST_GROUPS], repeated_names=repeated[:MOST_GROUPS])
    return statistics, Measures(means.round().astype(np.uint8), brightness, contrast)


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
                {split: kept[f"{what}.{split}"] for split in SPLITS} for what in ("brightness", "contrast")
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
