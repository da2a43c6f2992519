"""The loss of a batch."""

from __future__ import annotations

import pytest
import torch

from trainer.engine.augment import Mixed
from trainer.engine.loss import ClassBalance, batch_loss
from trainer.spec.preset import build_spec


def test_class_weights_scale_the_loss_of_mixed_images_as_that_of_plain_ones() -> None:
    spec = build_spec("d", "baseline-cnn", {"class_weights": "balanced"})
    torch.manual_seed(0)
    logits, labels = torch.randn(64, 3), torch.randint(0, 3, (64,))
    weights = ClassBalance(torch.tensor([0.2, 1.0, 9.0]))
    plain = batch_loss(spec, logits, labels, weights)

    def mixed(share: float, other: torch.Tensor) -> torch.Tensor:
        return batch_loss(spec, logits, labels, weights, Mixed(torch.empty(0), other, torch.full((64,), share)))

    assert mixed(1.0, labels.roll(1)).item() == pytest.approx(plain.item())
    assert mixed(0.3, labels).item() == pytest.approx(plain.item())
    assert mixed(0.0, labels.roll(1)).item() == pytest.approx(batch_loss(spec, logits, labels.roll(1), weights).item())


@pytest.mark.parametrize("loss", ["cross_entropy", "mse"])
@pytest.mark.parametrize("class_weights", [None, [0.2, 1.0, 9.0]])
def test_an_image_of_weight_two_counts_as_two_images(loss: str, class_weights: list[float] | None) -> None:
    spec = build_spec("d", "baseline-cnn", {"loss": loss, "label_smoothing": 0.1 if loss == "cross_entropy" else 0})
    torch.manual_seed(0)
    logits, labels = torch.randn(64, 3), torch.randint(0, 3, (64,))
    counts = torch.randint(0, 3, (64,))
    weights = ClassBalance(None if class_weights is None else torch.tensor(class_weights))
    repeated = torch.arange(64).repeat_interleave(counts)
    expected = batch_loss(spec, logits[repeated], labels[repeated], weights)
    weighted = batch_loss(spec, logits, labels, weights, image_weights=counts.float())
    assert weighted.item() == pytest.approx(expected.item())


def test_the_images_of_a_mixed_batch_count_by_their_weights() -> None:
    spec = build_spec("d", "baseline-cnn")
    torch.manual_seed(0)
    logits, labels, own = torch.randn(8, 3), torch.randint(0, 3, (8,)), torch.rand(8)
    mixed = Mixed(torch.empty(0), labels.roll(1), own)
    plain = batch_loss(spec, logits, labels, mixed=mixed)
    assert batch_loss(spec, logits, labels, mixed=mixed, image_weights=torch.ones(8)).item() == pytest.approx(
        plain.item()
    )
    only = torch.zeros(8)
    only[3] = 1  # its image is in rows 3 and 4
    each = [torch.nn.functional.cross_entropy(logits[row], labels[3]) for row in (3, 4)]
    expected = (own[3] * each[0] + (1 - own[4]) * each[1]) / (own[3] + 1 - own[4])
    assert batch_loss(spec, logits, labels, mixed=mixed, image_weights=only).item() == pytest.approx(expected.item())


def test_a_batch_that_does_not_count_has_no_loss() -> None:
    spec = build_spec("d", "baseline-cnn")
    logits = torch.randn(4, 3, requires_grad=True)
    loss = batch_loss(spec, logits, torch.arange(4) % 3, image_weights=torch.zeros(4))
    loss.backward()  # type: ignore[no-untyped-call]
    assert loss.item() == 0
    assert logits.grad is not None
    assert not logits.grad.any()
