"""Gradient accumulation: the step is that of the whole batch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from tests.trainer.test_loop import events_of, new_run, run
from trainer.engine.augment import Mixed
from trainer.engine.gradients import Batch
from trainer.engine.loss import ClassBalance, batch_loss, loss_weight
from trainer.spec.preset import SpecError, build_spec


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("is_mixed", [False, True])
@pytest.mark.parametrize("class_weights", [None, [0.2, 1.0, 9.0]])
def test_the_losses_of_parts_add_up_to_that_of_the_batch(
    weighted: bool, is_mixed: bool, class_weights: list[float] | None
) -> None:
    spec = build_spec("d", "baseline-cnn", {"label_smoothing": 0.1})
    torch.manual_seed(0)
    logits, labels = torch.randn(11, 3), torch.randint(0, 3, (11,))
    balance = ClassBalance(None if class_weights is None else torch.tensor(class_weights))
    mixed = Mixed(torch.randn(11, 3, 2, 2), labels.roll(1), torch.rand(11)) if is_mixed else None
    batch = Batch(torch.randn(11, 3, 2, 2), labels, mixed, torch.rand(11) if weighted else None)
    whole = batch_loss(spec, logits, labels, balance, mixed, image_weights=batch.weights)
    total = loss_weight(labels, balance, mixed, batch.weights)
    found = torch.zeros(())
    for chosen in (slice(0, 4), slice(4, 9), slice(9, 11)):
        part = batch.part(chosen)
        loss = batch_loss(spec, logits[chosen], part.labels, balance, part.mixed, image_weights=part.weights)
        found += loss * loss_weight(part.labels, balance, part.mixed, part.weights) / total
    assert found.item() == pytest.approx(whole.item(), rel=1e-5)


def test_a_run_with_gradient_accumulation_has_the_same_curve(tmp_path: Path, few_shapes: Path) -> None:
    settings: dict[str, Any] = {
        "checks": "off",
        "compile": "off",
        "max_steps": 20,
        "model.widths": [64],
        "augment.mixup": 0.2,
        "class_weights": "balanced",
        "optimizer.name": "sgd",
    }
    for parts in (1, 5):
        folder = tmp_path / f"{parts}"
        new_run(
            folder, few_shapes, {**settings, "gradient_accumulation": parts, "precision": "float32"}, "baseline-mlp"
        )
        assert run(folder, few_shapes).reason == "finished"
    curves = [
        [event["v"] for event in events_of(tmp_path / parts) if "train/loss" in event.get("v", {})]
        for parts in ("1", "5")
    ]
    assert len(curves[0]) >= 16
    for alone, accumulated in zip(*curves, strict=True):
        assert accumulated["train/loss"] == pytest.approx(alone["train/loss"], rel=1e-4)
        assert accumulated["train/acc"] == pytest.approx(alone["train/acc"], abs=0.02)


def test_more_parts_than_pairs_of_images_are_refused() -> None:
    with pytest.raises(SpecError) as refused:
        build_spec("d", "baseline-cnn", {"batch_size": 8, "gradient_accumulation": 5})
    assert "at most 4 parts" in refused.value.fields["overrides.gradient_accumulation"]
