"""A spec that is ready to train: built, checked against its dataset, and planned. Free of torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from trainer.data.format import DatasetRecord, read_record
from trainer.data.splits import ValidationCounts, validation_counts
from trainer.plan.feasibility import feasible_plan
from trainer.plan.schedule import Plan
from trainer.spec.preset import apply_overrides, build_spec, differences
from trainer.spec.train_spec import TrainSpec


@dataclass(frozen=True)
class Prepared:
    """`spec` has the hashes of the dataset's arrays; `base` is the preset's spec, or the one that was cloned."""

    spec: TrainSpec
    base: TrainSpec
    record: DatasetRecord
    validation: ValidationCounts
    plan: Plan

    @cached_property
    def changed(self) -> dict[str, tuple[Any, Any]]:
        """The settings of `spec` that differ from `base`, by dotted field: (old, new)."""
        return differences(self.spec, self.base)


def prepared(dataset: str, preset: str, overrides: Mapping[str, Any], root: Path) -> Prepared:
    """Prepare `preset` with `overrides` on a dataset in the folder `root`. Raises SpecError, DatasetError."""
    return _prepared(build_spec(dataset, preset, overrides), build_spec(dataset, preset), root)


def prepared_clone(
    base: TrainSpec, overrides: Mapping[str, Any], root: Path, *, with_weights: bool = False
) -> Prepared:
    """Prepare another run's spec with `overrides` on its dataset's current version. Raises SpecError, DatasetError.

    `with_weights`: the run starts with the other's weights, and so has to hold out the images that the other held out.
    """
    values = base.model_dump(mode="json") | {"dataset": {"name": base.dataset.name}}
    own = base.seed if base.dataset.split_seed == "run" else base.dataset.split_seed
    return _prepared(apply_overrides(values, overrides), base, root, own if with_weights else "dataset")


def _prepared(spec: TrainSpec, base: TrainSpec, root: Path, split_seed: int | str = "dataset") -> Prepared:
    record = read_record(root, spec.dataset.name)
    pinned = spec.dataset.model_copy(update={"sha256": record.sha256, "split_seed": split_seed})
    spec = spec.model_copy(update={"dataset": pinned})
    validation = validation_counts(spec, record, root)
    return Prepared(spec, base, record, validation, feasible_plan(spec, record, validation))
