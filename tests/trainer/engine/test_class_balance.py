"""Uneven classes: weights by effective number, focal loss, logit adjustment and balanced sampling."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from scipy.special import log_softmax
from torch import Tensor

from tests.trainer.test_recipes import run
from trainer.data.writer import write_dataset
from trainer.engine.class_balance import BalancedSampler, effective_weights
from trainer.engine.loss import ClassBalance, batch_loss
from trainer.spec.preset import build_spec

COUNTS = np.array([200, 60, 12, 5])
SHARES = COUNTS / COUNTS.sum()


def batch() -> tuple[Tensor, Tensor]:
    torch.manual_seed(0)
    return 3 * torch.randn(64, 4), torch.randint(0, 4, (64,))


def test_the_weights_are_the_inverse_of_the_effective_number() -> None:
    numbers = [sum(0.99**power for power in range(count)) for count in COUNTS]
    weights = effective_weights(COUNTS, 0.99)
    assert (weights * numbers) / (weights * numbers)[0] == pytest.approx(np.ones(4))
    assert (weights * SHARES).sum() == pytest.approx(1)
    assert effective_weights(COUNTS, 1 - 1e-9) == pytest.approx(COUNTS.sum() / (4 * COUNTS), rel=1e-4)
    assert np.isfinite(effective_weights(np.array([3, 0]), 0.999)).all()


@pytest.mark.parametrize("gamma", [0.5, 2.0])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("adjusted", [False, True])
def test_the_loss_is_that_of_the_papers(gamma: float, weighted: bool, adjusted: bool) -> None:
    spec = build_spec("d", "baseline-cnn", {"focal_gamma": gamma})
    logits, labels = batch()
    weights = effective_weights(COUNTS, 0.99) if weighted else np.ones(4)
    shift = 1.5 * np.log(SHARES) if adjusted else np.zeros(4)
    logs = log_softmax(logits.numpy().astype(float) + shift, axis=1)[np.arange(64), labels.numpy()]
    own, each = weights[labels.numpy()], -((1 - np.exp(logs)) ** gamma) * logs
    balance = ClassBalance(
        torch.tensor(weights).float() if weighted else None, torch.tensor(shift).float() if adjusted else None
    )
    assert batch_loss(spec, logits, labels, balance).item() == pytest.approx((own * each).sum() / own.sum(), rel=1e-5)
    counts = np.arange(64) % 3
    expected = (counts * own * each).sum() / (counts * own).sum()
    images = torch.tensor(counts).float()
    assert batch_loss(spec, logits, labels, balance, image_weights=images).item() == pytest.approx(expected, rel=1e-5)


def test_logit_adjustment_alone_is_cross_entropy_on_shifted_logits() -> None:
    spec = build_spec("d", "baseline-cnn", {"logit_adjustment": 1.0})
    logits, labels = batch()
    shift = torch.tensor(np.log(SHARES)).float()
    found = batch_loss(spec, logits, labels, ClassBalance(shift=shift))
    assert found.item() == pytest.approx(F.cross_entropy(logits + shift, labels).item())


def test_what_is_off_leaves_cross_entropy_bit_for_bit() -> None:
    off = {"class_weights": "none", "focal_gamma": 0, "logit_adjustment": 0, "sampling": "shuffle"}
    spec = build_spec("d", "baseline-cnn", off)
    assert spec == build_spec("d", "baseline-cnn")
    assert ClassBalance.of(spec, None) == ClassBalance()  # type: ignore[arg-type]
    logits, labels = batch()
    mine, theirs = logits.clone().requires_grad_(), logits.clone().requires_grad_()
    losses = batch_loss(spec, mine, labels), F.cross_entropy(theirs, labels)
    for loss in losses:
        loss.backward()  # type: ignore[no-untyped-call]
    assert mine.grad is not None
    assert theirs.grad is not None
    assert torch.equal(losses[0], losses[1])
    assert torch.equal(mine.grad, theirs.grad)


def test_the_focal_loss_of_a_certain_answer_has_a_finite_gradient() -> None:
    spec = build_spec("d", "baseline-cnn", {"focal_gamma": 0.5})
    logits = torch.tensor([[90.0, 0.0]], requires_grad=True)
    batch_loss(spec, logits, torch.tensor([0])).backward()  # type: ignore[no-untyped-call]
    assert logits.grad is not None
    assert torch.isfinite(logits.grad).all()


def test_the_sampler_draws_each_class_equally_often_and_the_same_images_for_a_seed_and_epoch() -> None:
    labels = np.random.default_rng(0).permutation(np.repeat([0, 1, 3], [4000, 400, 20]))
    drawn = BalancedSampler(labels, seed=5).draw(2)
    assert drawn.shape == labels.shape
    found = np.bincount(labels[drawn], minlength=4)
    third = len(labels) / 3
    assert abs(found[[0, 1, 3]] - third).max() < 4 * np.sqrt(third * 2 / 3)
    assert found[2] == 0
    assert set(drawn[labels[drawn] == 3]) == set(np.flatnonzero(labels == 3))
    assert np.array_equal(drawn, BalancedSampler(labels, seed=5).draw(2))
    assert not np.array_equal(drawn, BalancedSampler(labels, seed=5).draw(3))
    assert not np.array_equal(drawn, BalancedSampler(labels, seed=6).draw(2))


def make_noisy_patterns(root: Path) -> None:
    """Ten classes of 200 down to 5 training images of 8 × 8 pixels: a pattern each, with noise; 50 test images each."""
    rng = np.random.default_rng(0)
    patterns = rng.uniform(90, 165, (10, 8, 8, 3))
    arrays: Any = {}
    for split, counts in (("train", np.geomspace(200, 5, 10).round().astype(int)), ("test", [50] * 10)):
        labels = np.repeat(np.arange(10), counts)
        images = (patterns[labels] + rng.normal(0, 60, (len(labels), 8, 8, 3))).clip(0, 255).astype(np.uint8)
        arrays[split] = (images, labels, [f"{split}/{row}.png" for row in range(len(labels))])
    write_dataset(root, "uneven", arrays=arrays, classes=[f"class {number}" for number in range(10)], source="test")


def test_each_setting_raises_the_balanced_accuracy_on_uneven_classes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    make_noisy_patterns(tmp_path)
    small = {"model.name": "mlp", "model.widths": [32], "optimizer.lr": 3e-3, "epochs": 6, "batch_size": 32}

    def balanced_accuracy(name: str, overrides: dict[str, Any]) -> float:
        fixed = {"val_fraction": 0.0, "precision": "float32", **small}
        return run(tmp_path / name, tmp_path, fixed | overrides, dataset="uneven").summary["test/balanced_acc"]

    plain = balanced_accuracy("plain", {})
    assert balanced_accuracy("focal", {"focal_gamma": 2.0}) > plain + 0.01
    assert balanced_accuracy("effective", {"class_weights": "effective"}) > plain + 0.1
    assert balanced_accuracy("adjusted", {"logit_adjustment": 1.0}) > plain + 0.1
    assert balanced_accuracy("sampled", {"sampling": "balanced"}) > plain + 0.1
