"""Impossible combinations are rejected before a run is queued, with an error for every field involved."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from app.datasets.validation import validation_of_run
from tests.trainer.data.own_validation import make_own_validation, make_uneven
from trainer.plan.prepared import prepared
from trainer.spec.preset import SpecError, presets

IMPOSSIBLE: list[tuple[dict[str, Any], set[str]]] = [
    ({"loss": "mse", "augment.mixup": 0.2}, {"loss", "augment.mixup"}),
    ({"loss": "mse", "augment.cutmix": 1.0}, {"loss", "augment.cutmix"}),
    ({"loss": "mse", "label_smoothing": 0.1}, {"loss", "label_smoothing"}),
    ({"loss": "mse", "class_weights": "balanced"}, {"loss", "class_weights"}),
    ({"loss": "mse", "focal_gamma": 2}, {"loss", "focal_gamma"}),
    ({"loss": "mse", "logit_adjustment": 1}, {"loss", "logit_adjustment"}),
    ({"focal_gamma": 2, "label_smoothing": 0.1}, {"focal_gamma", "label_smoothing"}),
    ({"focal_gamma": 2, "augment.cutmix": 1.0}, {"focal_gamma", "augment.cutmix"}),
    ({"class_weights": "effective", "logit_adjustment": 1}, {"class_weights", "logit_adjustment"}),
    ({"class_weights": "balanced", "sampling": "balanced"}, {"class_weights", "sampling"}),
    ({"sampling": "balanced", "logit_adjustment": 1}, {"sampling", "logit_adjustment"}),
    ({"val_folds": 1, "val_fold": 1}, {"val_folds"}),
    ({"val_folds": 5}, {"val_folds", "val_fold"}),
    ({"val_fold": 1}, {"val_folds", "val_fold"}),
    ({"val_folds": 5, "val_fold": 6}, {"val_folds", "val_fold"}),
    ({"augment.crop": 32}, {"augment.crop"}),
    ({"augment.cutout": 32}, {"augment.cutout"}),
    ({"augment.alternating": True}, {"augment.alternating", "augment.flip"}),
    ({"augment.resolutions": [20]}, {"augment.resolutions", "augment.resolution_until"}),
    (
        {"model.name": "swift", "augment.resolutions": [40], "augment.resolution_until": [0.5]},
        {"augment.resolutions"},
    ),
    ({"augment.resolutions": [20], "augment.resolution_until": [0.5]}, {"augment.resolutions", "model.name"}),
    (
        {"model.name": "swift", "augment.resolutions": [0.99], "augment.resolution_until": [0.5]},
        {"augment.resolutions"},
    ),
    (
        {"model.name": "swift", "augment.resolutions": [0.1], "augment.resolution_until": [0.5]},
        {"augment.resolutions", "model.name"},
    ),
    ({"model.name": "torchvision:vit_b_16"}, {"model.name", "model.input_size"}),
    ({"model.name": "resnet18", "model.widths": [8, 8]}, {"model.widths"}),
    ({"model.name": "torchvision:resnet18", "model.widths": [8]}, {"model.widths"}),
    ({"model.weights": "imagenet"}, {"model.weights", "model.name"}),
    (
        {
            "optimizer.name": "muon",
            "model.name": "torchvision:resnet18",
            "model.weights": "imagenet",
            "model.freeze": True,
        },
        {"optimizer.name", "model.freeze"},
    ),
    ({"model.freeze": True}, {"model.freeze", "model.weights"}),
    ({"model.unfreeze_epoch": 3}, {"model.unfreeze_epoch", "model.freeze"}),
    ({"early_stopping": 3, "val_fraction": 0}, {"early_stopping", "val_fraction"}),
    ({"overfit_one_batch": True, "budget.minutes": 1}, {"overfit_one_batch", "budget.minutes"}),
    ({"optimizer.nesterov": True, "optimizer.momentum": 0}, {"optimizer.nesterov", "optimizer.momentum"}),
    ({"schedule.milestones": [0.6, 0.3]}, {"schedule.milestones"}),
    ({"model.name": "no-such"}, {"model.name"}),
]


@pytest.mark.parametrize(("overrides", "fields"), IMPOSSIBLE)
def test_an_impossible_combination_names_its_fields(shapes: Path, overrides: dict[str, Any], fields: set[str]) -> None:
    with pytest.raises(SpecError) as caught:
        prepared("shapes100", "baseline-cnn", overrides, shapes)
    assert caught.value.fields.keys() == {f"overrides.{name}" for name in fields}
    assert all(caught.value.fields.values())


def test_early_stopping_needs_a_validation_split_of_whatever_kind(tmp_path: Path) -> None:
    stopping = {"early_stopping": 3}
    make_own_validation(tmp_path)
    assert prepared("own", "baseline-cnn", stopping | {"val_fraction": 0}, tmp_path).validation.total == 10
    make_uneven(tmp_path / "twos", (2, 2))
    assert prepared("uneven", "baseline-cnn", stopping, tmp_path / "twos").validation.total == 2
    make_uneven(tmp_path / "ones", (1, 1, 1))
    assert prepared("uneven", "baseline-cnn", {}, tmp_path / "ones").validation.total == 0
    with pytest.raises(SpecError, match="only one training image") as caught:
        prepared("uneven", "baseline-cnn", stopping, tmp_path / "ones")
    assert caught.value.fields.keys() == {"overrides.early_stopping", "overrides.val_fraction"}


def test_folds_are_of_training_images(tmp_path: Path) -> None:
    make_own_validation(tmp_path)
    with pytest.raises(SpecError, match="validation split of its own"):
        prepared("own", "baseline-cnn", {"val_folds": 5, "val_fold": 1}, tmp_path)
    make_uneven(tmp_path, (4, 2))
    with pytest.raises(SpecError, match="fold 7 is empty"):
        prepared("uneven", "baseline-cnn", {"val_folds": 7, "val_fold": 7}, tmp_path)
    ready = prepared("uneven", "baseline-cnn", {"val_folds": 6, "val_fold": 1}, tmp_path)
    assert validation_of_run(ready.spec, ready.record, ready.validation) == (
        "fold 1 of 6, 1 image held out of train, stratified by class"
    )


def test_the_plan_has_the_images_that_are_trained_on(tmp_path: Path) -> None:
    make_uneven(tmp_path, (20,) * 10)
    ready = prepared("uneven", "quick", {"batch_size": 10, "epochs": 1}, tmp_path)
    assert ready.spec.val_fraction == 0.02
    assert (ready.validation.total, ready.plan.steps_per_epoch) == (10, 19)


@pytest.mark.parametrize("preset", presets())
def test_every_preset_can_be_trained(shapes: Path, preset: str) -> None:
    prepared("shapes100", preset, {}, shapes)
