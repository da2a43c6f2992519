"""The validation split of a run: the dataset's own, or a share or a fold of the training images. Free of torch."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import numpy.typing as npt

from trainer.data.folds import Mask, cross_validation_folds, held_out
from trainer.data.format import DatasetRecord, Labels, Split, read_labels, read_record
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
    """`per_class` int64 (C,): the validation images of each class. `own` says that they are the dataset's own split.
    `untrained` are the classes of which all images are held out, as a fold of a cross-validation may."""

    own: bool
    per_class: npt.NDArray[np.int64]
    untrained: tuple[int, ...] = ()

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
    Of a dataset with groups it is made of whole groups. With `spec.val_folds` it is a fold instead. Raises
    DatasetError.
    """
    if record.val_count:
        return ValidationSplit("val", np.arange(len(labels)), np.arange(record.val_count))
    if spec.val_folds:
        folds = folds_of(record, root, spec.val_folds)
        return ValidationSplit("train", np.flatnonzero(folds != spec.val_fold - 1), held_out_fold(folds, spec))
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
    if spec.val_folds:
        rows = held_out_fold(folds_of(record, root, spec.val_folds), spec)
        per_class = np.bincount(labels[rows], minlength=len(record.classes))
        return ValidationCounts(False, per_class, tuple(np.flatnonzero((counts > 0) & (per_class == counts)).tolist()))
    if record.groups is not None:
        held = held_out_groups(spec, record, labels, root)
        return ValidationCounts(False, np.bincount(labels[held], minlength=len(record.classes)))
    at_least_one = spec.dataset.split_seed == "dataset"
    return ValidationCounts(False, held_out_counts(counts, spec.val_fraction, at_least_one=at_least_one))


def folds_of(record: DatasetRecord, root: Path, count: int) -> Labels:
    """The fold (int64 N, from 0) of each training image in a cross-validation of `count` folds: the same for all runs
    on the dataset. Raises DatasetError.
    """
    return _drawn_folds(root, record.name, record.groups is not None, count, dataset_seed(record))


@lru_cache(maxsize=4)
def _drawn_folds(root: Path, name: str, grouped: bool, count: int, seed: int) -> Labels:
    """Kept, since those of many groups take seconds."""
    groups = read_groups(root, read_record(root, name), "train") if grouped else None
    folds = cross_validation_folds(read_labels(root, name, "train"), groups, count, seed)
    folds.setflags(write=False)
    return folds


def held_out_fold(folds: Labels, spec: TrainSpec) -> Labels:
    """The rows of the training images in the fold that the spec holds out."""
    return np.flatnonzero(folds == spec.val_fold - 1)


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
