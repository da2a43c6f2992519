"""A spec that is ready to train: built, checked against its dataset, and planned. Free of torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from trainer.data.format import DatasetRecord, read_record
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
    plan: Plan

    @cached_property
    def changed(self) -> dict[str, tuple[Any, Any]]:
        """The settings of `spec` that differ from `base`, by dotted field: (old, new)."""
        return differences(self.spec, self.base)


def prepared(dataset: str, preset: str, overrides: Mapping[str, Any], root: Path) -> Prepared:
    """Prepare `preset` with `overrides` on a dataset in the folder `root`. Raises SpecError, DatasetError."""
    return _prepared(build_spec(dataset, preset, overrides), build_spec(dataset, preset), root)


def prepared_clone(base: TrainSpec, overrides: Mapping[str, Any], root: Path) -> Prepared:
    """Prepare another run's spec with `overrides` on its dataset's current version. Raises SpecError, DatasetError."""
    values = base.model_dump(mode="json") | {"dataset": {"name": base.dataset.name}}
    return _prepared(apply_overrides(values, overrides), base, root)


def _prepared(spec: TrainSpec, base: TrainSpec, root: Path) -> Prepared:
    record = read_record(root, spec.dataset.name)
    plan = feasible_plan(spec, record)
    pinned = spec.dataset.model_copy(update={"sha256": record.sha256})
    return Prepared(spec.model_copy(update={"dataset": pinned}), base, record, plan)
