"""Check a spec against its dataset before the run is queued. Free of torch."""

from __future__ import annotations

from collections.abc import Iterator

from trainer.data.format import DatasetRecord
from trainer.data.splits import ValidationCounts
from trainer.plan.schedule import Plan, make_plan, resolutions
from trainer.spec.catalog import architecture
from trainer.spec.preset import SpecError
from trainer.spec.timm_models import INSTALL, is_timm, timm_is_missing
from trainer.spec.train_spec import TrainSpec


def feasible_plan(spec: TrainSpec, record: DatasetRecord, validation: ValidationCounts) -> Plan:
    """Return the plan of `spec` on the dataset of `record`. Raises SpecError, which names every invalid field."""
    plan = make_plan(spec, record.train_count - validation.held_out)
    problems: dict[str, str] = {}
    for reason, *fields in _problems(spec, record, validation, plan):
        for name in fields:
            problems.setdefault(f"overrides.{name}", reason)
    if problems:
        raise SpecError(problems)
    return plan


def _problems(
    spec: TrainSpec, record: DatasetRecord, validation: ValidationCounts, plan: Plan
) -> Iterator[tuple[str, ...]]:
    if spec.val_folds and record.val_count:
        yield f"dataset {record.name} has a validation split of its own, so that no fold is held out", "val_folds"
    if spec.val_folds and not validation.total:
        yield f"fold {spec.val_fold} is empty: too few groups or images for {spec.val_folds} folds", "val_folds"
    if spec.early_stopping and not validation.total:
        none = "" if spec.held_out_share == 0 else ": every class has only one training image, so none is held out"
        yield f"early stopping needs a validation split{none}", "early_stopping", "val_fraction"
    if spec.target == "coarse" and record.superclasses is None:
        yield f"dataset {record.name} has no superclasses", "target"
    if plan.batch_size < min(2 * spec.devices, spec.batch_size):
        yield "too few images to train on", "batch_size"
    if spec.augment.crop >= record.size:
        yield f"must be smaller than the images ({record.size} px)", "augment.crop"
    placed = spec.augment.placed_size(record.size, spec.model.input_size or record.size)
    if spec.augment.cutout >= placed:
        yield f"would blank the whole image ({placed} px)", "augment.cutout"
    if spec.optimizer.name == "muon" and spec.model.freeze and not spec.model.unfreeze_epoch:
        yield (
            "Muon trains filters and hidden matrices, and here only the head is trained: choose another optimizer, or "
            "unfreeze the backbone",
            "optimizer.name",
            "model.freeze",
        )
    yield from _model_problems(spec, spec.model.input_size or record.size)


def _model_problems(spec: TrainSpec, size: int) -> Iterator[tuple[str, ...]]:
    smaller = resolutions(spec, size)
    if any(small >= size for small in smaller):
        yield f"must be smaller than the images ({size} px)", "augment.resolutions"
    if is_timm(spec.model.name) and timm_is_missing():
        yield INSTALL, "model.name"
    known = architecture(spec.model.name)
    if known is None:
        return
    if known.fixed and spec.augment.resolutions:
        yield f"{known.name} takes images of one size only", "augment.resolutions", "model.name"
    elif known.fixed and size != known.smallest and spec.model.name not in ("mlp", "cnn"):
        wanted = f"{known.name} takes images of {known.smallest} px only: set model.input_size to {known.smallest}"
        yield wanted, "model.name", "model.input_size"
    elif min((size, *smaller)) < known.smallest:
        field = "augment.resolutions" if size >= known.smallest else "model.input_size"
        yield f"{known.name} takes images of at least {known.smallest} px", "model.name", field
    if known.stages and len(spec.model.widths) not in (0, known.stages):
        yield f"{known.name} has {known.stages} stages: give as many widths", "model.widths"
    if spec.model.widths and known.stages == 0:
        yield f"{known.name} has no widths to choose", "model.widths"
