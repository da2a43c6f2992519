"""The validation split of a run: the dataset's own, or a share of the training images. Free of torch."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from trainer.data.folds import Mask, held_out
from trainer.data.format import DatasetRecord, Labels, Split, read_labels
from trainer.data.groups import read_folds, read_groups
from trainer.spec.train_spec import TrainSpec

NAMED_CLASSES = 5


@dataclass(frozen=True)
class ValidationSplit:
    """`rows` of the arrays of `split` are validated on, `train_rows` of the training arrays are trained on."""

    split: Split
    train_rows: Labels
    rows: Labels


@dataclass(frozen=True)
class ValidationCounts:
    """`per_class` int64 (C,): the validation images of each class. `own` says that they are the dataset's own split."""

    own: bool
    per_class: npt.NDArray[np.int64]

    @property
    def total(self) -> int:
        return int(self.per_class.sum())

    @property
    def held_out(self) -> int:
        """The training images that are not trained on."""
        return 0 if self.own else self.total

    @property
    def missing(self) -> list[int]:
        """The classes without a validation image."""
        return np.flatnonzero(self.per_class == 0).tolist()


def validation_split(spec: TrainSpec, record: DatasetRecord, labels: Labels, root: Path) -> ValidationSplit:
    """The rows that a run trains on and is validated on. `labels` are the classes of the training images, `root` the
    folder of all datasets.

    The held-out share is drawn from the dataset, so that runs with different seeds are compared on the same images, and
    has at least one image of each class that has two. `spec.dataset.split_seed` says which runs have an older split.
    Of a dataset with groups it is made of whole groups. Raises DatasetDamaged.
    """
    if record.val_count:
        return ValidationSplit("val", np.arange(len(labels)), np.arange(record.val_count))
    if record.groups is not None:
        held = held_out_groups(spec, record, labels, root)
        return ValidationSplit("train", np.flatnonzero(~held), np.flatnonzero(held))
    drawn_with = spec.dataset.split_seed
    if drawn_with == "dataset":
        split = stratified_split(labels, spec.val_fraction, dataset_seed(record), at_least_one=True)
    else:
        split = stratified_split(labels, spec.val_fraction, spec.seed if drawn_with == "run" else drawn_with)
    return ValidationSplit("train", *split)


def validation_counts(spec: TrainSpec, record: DatasetRecord, root: Path) -> ValidationCounts:
    """How many images of each class a run is validated on. Raises DatasetError."""
    labels = read_labels(root, record.name, record.validation_split)
    counts = np.bincount(labels, minlength=len(record.classes))
    if record.val_count:
        return ValidationCounts(True, counts)
    if record.groups is not None:
        held = held_out_groups(spec, record, labels, root)
        return ValidationCounts(False, np.bincount(labels[held], minlength=len(record.classes)))
    at_least_one = spec.dataset.split_seed == "dataset"
    return ValidationCounts(False, held_out_counts(counts, spec.val_fraction, at_least_one=at_least_one))


def held_out_groups(spec: TrainSpec, record: DatasetRecord, labels: Labels, root: Path) -> Mask:
    """Which training images (N) a run on a dataset with groups holds out. Raises DatasetDamaged."""
    return held_out(read_folds(root, record), labels, read_groups(root, record, "train"), spec.val_fraction)


def dataset_seed(record: DatasetRecord) -> int:
    """A number that depends on the contents of the dataset's arrays alone."""
    content = "".join(f"{name} {digest}\n" for name, digest in sorted(record.sha256.items()))
    return int.from_bytes(hashlib.sha256(content.encode()).digest()[:16], "big")


def stratified_split(
    labels: Labels, fraction: float, seed: int, *, at_least_one: bool = False
) -> tuple[Labels, Labels]:
    """Return the sorted rows to train on and to hold out, the same share of each class.

    At least one row of each class remains to train on. With `at_least_one`, at least one is held out of each class
    that has two.
    """
    if fraction == 0:
        return np.arange(len(labels)), np.arange(0)
    rng = np.random.default_rng([seed, 0x5EED])
    order = rng.permutation(len(labels))
    by_class = order[np.argsort(labels[order], kind="stable")]
    counts = np.bincount(labels)
    rank = np.arange(len(labels)) - np.repeat(np.cumsum(counts) - counts, counts)
    held = rank < held_out_counts(counts, fraction, at_least_one=at_least_one).repeat(counts)
    return np.sort(by_class[~held]), np.sort(by_class[held])


def held_out_counts(counts: npt.NDArray[np.int64], fraction: float, *, at_least_one: bool) -> npt.NDArray[np.int64]:
    """How many images are held out of classes that have `counts` images."""
    if fraction == 0:
        return np.zeros_like(counts)
    wanted = np.round(counts * fraction).astype(np.int64)
    if at_least_one:
        wanted = np.maximum(wanted, 1)
    return np.minimum(wanted, np.maximum(counts - 1, 0))


def listed(names: Sequence[str]) -> str:
    """The names as one text; of many, the first NAMED_CLASSES."""
    more = len(names) - NAMED_CLASSES
    return ", ".join(names[:NAMED_CLASSES]) + (f" and {more:,} more" if more > 0 else "")
