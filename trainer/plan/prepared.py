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
from trainer.spec.catalog import pixels_of_weights
from trainer.spec.dataset_spec import PixelSpec
from trainer.spec.model_spec import PUBLISHED, ModelSpec
from trainer.spec.preset import apply_overrides, build_spec, differences
from trainer.spec.timm_models import TIMM, is_timm, timm_model, timm_weights
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
    spec = build_spec(dataset, preset, overrides)
    return _prepared(spec, build_spec(dataset, preset), root, "dataset", weights_pixels(spec.model))


def prepared_clone(
    base: TrainSpec, overrides: Mapping[str, Any], root: Path, *, with_weights: bool = False
) -> Prepared:
    """Prepare another run's spec with `overrides` on its dataset's current version. Raises SpecError, DatasetError.

    `with_weights`: the run starts with the other's weights, and so has to hold out the images that the other held out.
    """
    values = base.model_dump(mode="json") | {"dataset": {"name": base.dataset.name}}
    own = base.seed if base.dataset.split_seed == "run" else base.dataset.split_seed
    spec = apply_overrides(values, overrides)
    if with_weights:
        return _prepared(spec, base, root, own, base.dataset.pixels)
    return _prepared(spec, base, root, "dataset", weights_pixels(spec.model))


def _prepared(
    spec: TrainSpec, base: TrainSpec, root: Path, split_seed: int | str, pixels: PixelSpec | None
) -> Prepared:
    record = read_record(root, spec.dataset.name)
    pinned = spec.dataset.model_copy(update={"sha256": record.sha256, "split_seed": split_seed, "pixels": pixels})
    spec = spec.model_copy(update={"dataset": pinned, "model": completed(spec.model)})
    validation = validation_counts(spec, record, root)
    return Prepared(spec, base, record, validation, feasible_plan(spec, record, validation))


def completed(model: ModelSpec) -> ModelSpec:
    """The settings with the name of a timm model's weights, and with the side of the images that they, or a network of
    one size, take."""
    if not is_timm(model.name):
        return model
    known, weights = timm_model(model.name), timm_weights(model.name)
    name, size = model.name, known.size if known.fixed else 0
    if model.weights != "none" and weights is not None:
        size = weights.size
        name = f"{TIMM}{known.name}.{weights.tag}" if model.weights in PUBLISHED else name
    return model.model_copy(update={"name": name, "input_size": model.input_size or size})


def weights_pixels(model: ModelSpec) -> PixelSpec | None:
    """What images are normalized and resized with; None for the dataset's mean and deviation."""
    if model.weights == "none" or model.normalization == "dataset":
        return None
    found = pixels_of_weights(model.name)
    return None if found is None else PixelSpec(mean=found[0], std=found[1], interpolation=found[2])
