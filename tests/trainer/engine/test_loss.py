"""The loss of a batch."""

from __future__ import annotations

import pytest
import torch

from trainer.engine.augment import Mixed
from trainer.engine.loss import ClassWeights, batch_loss
from trainer.spec.preset import build_spec


def test_class_weights_scale_the_loss_of_mixed_images_as_that_of_plain_ones() -> None:
    spec = build_spec("d", "baseline-cnn", {"class_weights": "balanced"})
    torch.manual_seed(0)
    logits, labels = torch.randn(64, 3), torch.randint(0, 3, (64,))
    weights = ClassWeights(torch.tensor([0.2, 1.0, 9.0]))
    plain = batch_loss(spec, logits, labels, weights)

    def mixed(share: float, other: torch.Tensor) -> torch.Tensor:
        return batch_loss(spec, logits, labels, weights, Mixed(torch.empty(0), other, torch.full((64,), share)))

    assert mixed(1.0, labels.roll(1)).item() == pytest.approx(plain.item())
    assert mixed(0.3, labels).item() == pytest.approx(plain.item())
    assert mixed(0.0, labels.roll(1)).item() == pytest.approx(batch_loss(spec, logits, labels.roll(1), weights).item())
