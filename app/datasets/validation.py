"""What runs are validated on, in words, for the launch form and the pages of runs and datasets."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from trainer.data.format import DatasetRecord
from trainer.data.splits import ValidationCounts, held_out_counts, listed
from trainer.spec.train_spec import TrainSpec

FEW = 30  # images, whose accuracy has a 95% interval of ±18 percentage points


def validation_of_run(spec: TrainSpec, record: DatasetRecord, counts: ValidationCounts) -> str:
    """Which images a run with this spec is validated on, how many, and which classes are not among them."""
    if counts.own:
        return _own_split(record.classes, counts.per_class.tolist())
    if spec.val_folds:
        parted = "whole groups" if record.groups is not None else "stratified by class"
        none = _classes([record.classes[index] for index in counts.untrained])
        without = f"; no image to train on: {none}" if none else ""
        return f"fold {spec.val_fold} of {spec.val_folds}, {_images(counts.total)} held out of train, {parted}{without}"
    if spec.val_fraction == 0:
        return "none: val_fraction is 0"
    grouped = record.groups is not None
    by_dataset = spec.dataset.split_seed == "dataset"
    few = "only one training image" if by_dataset else "too few training images"
    if grouped:
        few = "images in too few groups"
    if not counts.total:
        return f"none: every class has {few}"
    share = f"{100 * counts.total / record.train_count:.2g}%"
    too_few = "; too few to tell recipes apart" if counts.total < FEW else ""
    drawn = "at least one per class" if by_dataset else "drawn with the seed of the run, as in earlier versions"
    if grouped:
        drawn = "whole groups"
    missing = _classes([record.classes[index] for index in counts.missing])
    without = f"; not validated: {missing} with {few}" if missing else ""
    return f"{_images(counts.total)} held out of train ({share}), {drawn}{without}{too_few}"


def validation_of_dataset(
    classes: Sequence[str], train: Sequence[int], val: Sequence[int], *, grouped: bool = False
) -> str:
    """How the runs on a dataset are validated that has so many training and own validation images of each class."""
    if any(val):
        return _own_split(classes, val)
    single = _classes([name for name, count in zip(classes, train, strict=True) if count < 2])
    without = f"; not validated: {single} with only one training image" if single else ""
    share = TrainSpec.model_fields["val_fraction"].default
    if grouped:
        return (
            f"each run holds out whole groups, together about {share:.0%} of train by default. Runs with the same "
            "validation split are validated on the same images"
        )
    held_out = int(held_out_counts(np.asarray(train), share, at_least_one=True).sum())
    return (
        f"each run holds out {share:.0%} of train ({_images(held_out)}) by default, at least one image per class. Runs "
        f"with the same validation split are validated on the same images{without}"
    )


def _own_split(classes: Sequence[str], counts: Sequence[int]) -> str:
    missing = _classes([name for name, count in zip(classes, counts, strict=True) if not count])
    return f"own validation split, {_images(sum(counts))}" + (f"; not validated: {missing}" if missing else "")


def _classes(names: Sequence[str]) -> str:
    """The classes in words; "" if there are none."""
    return f"{len(names):,} class{'' if len(names) == 1 else 'es'} ({listed(names)})" if names else ""


def _images(count: int) -> str:
    return f"{count:,} image{'' if count == 1 else 's'}"
