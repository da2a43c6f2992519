"""Small datasets for tests of the validation split."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from trainer.data.format import DatasetRecord, Images, Split
from trainer.data.writer import DatasetWriter, write_dataset

CLASSES = ("ant", "bee", "cow")
OWN = {"train": (12, 12, 8), "val": (6, 4, 0), "test": (3, 3, 3)}


def make_own_validation(root: Path, name: str = "own") -> DatasetRecord:
    """A dataset with validation images of its own, none of them of the class "cow".

    Every image has the brightness of its class, so that a network learns the classes within an epoch.
    """
    splits: tuple[Split, ...] = ("train", "val", "test")
    arrays = {split: _split(split, OWN[split]) for split in splits}
    return write_dataset(root, name, arrays=arrays, classes=CLASSES, source="test")


def make_uneven(root: Path, counts: tuple[int, ...] = (40, 7, 3, 1, 2), *, pixel: int = 0) -> DatasetRecord:
    """A dataset of classes with `counts` training images, "a" and so on. `pixel` changes its contents."""
    images, labels, files = _split("train", counts)
    images[0, 0, 0, 0] = pixel
    test = _split("test", tuple(1 for _ in counts))
    names = [chr(ord("a") + index) for index in range(len(counts))]
    return write_dataset(
        root, "uneven", arrays={"train": (images, labels, files), "test": test}, classes=names, source="t"
    )


def make_grouped(root: Path) -> DatasetRecord:
    """A dataset of three classes and ten groups of twelve training images; class "cow" is in the first group only."""
    with DatasetWriter(root, "grouped", size=32) as writer:
        for split, counts in (("train", (57, 57, 6)), ("test", (4, 4, 4))):
            images, labels, files = _split(split, counts)  # type: ignore[arg-type]
            writer.create_images(split, len(images))[:] = images  # type: ignore[arg-type]
            writer.set_labels(split, labels, files)  # type: ignore[arg-type]
            groups = [0 if label == 2 else row % 10 for row, label in enumerate(labels)]
            writer.set_groups(split, groups if split == "train" else [10] * len(labels))  # type: ignore[arg-type]
        return writer.commit(classes=CLASSES, source="test", groups=[f"patient {number}" for number in range(11)])


def _split(split: Split, counts: tuple[int, ...]) -> tuple[Images, list[int], list[str]]:
    labels = [label for label, count in enumerate(counts) for _ in range(count)]
    rng = np.random.default_rng(len(labels))
    noise = rng.integers(0, 40, (len(labels), 32, 32, 3), dtype=np.uint8)
    shade = (np.array(labels) * (210 // len(counts))).astype(np.uint8)
    return (
        noise + shade[:, None, None, None],
        labels,
        [f"{split}/{label}/{row}.png" for row, label in enumerate(labels)],
    )
