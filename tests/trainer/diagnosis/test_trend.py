"""The slope of a noisy series, and the loss of guessing."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from trainer.diagnosis.reference import reference
from trainer.diagnosis.trend import trend
from trainer.spec.preset import build_spec


def test_the_interval_of_a_slope_holds_the_true_one_in_19_of_20_series() -> None:
    rng = np.random.default_rng(0)
    steps = list(range(0, 300, 2))
    held = falling = 0
    for _ in range(200):
        noise = rng.normal(0, 0.3, len(steps))
        noise[rng.integers(0, len(steps), 3)] += 50  # outliers
        values = [3 - 1e-3 * step + wobble for step, wobble in zip(steps, noise, strict=True)]
        found = trend(steps, values)
        held += found.low <= -1e-3 <= found.high
        falling += found.high < 0
    assert held >= 184
    assert falling >= 150
    assert trend([1, 2], [1.0, 2.0]).high == math.inf


@pytest.mark.parametrize(
    "overrides",
    [
        {},
        {"label_smoothing": 0.3},
        {"class_weights": "balanced"},
        {"class_weights": "balanced", "label_smoothing": 0.3},
    ],
)
def test_the_prior_is_the_lowest_loss_of_a_constant_prediction(overrides: dict[str, object]) -> None:
    counts = np.array([600, 300, 90, 10])
    spec = build_spec("d", "baseline-cnn", overrides)
    weights = torch.tensor(counts.sum() / (4 * counts) if spec.class_weights == "balanced" else np.ones(4)).float()
    labels = torch.repeat_interleave(torch.arange(4), torch.tensor(counts))
    logits = torch.zeros(4, requires_grad=True)
    optimizer = torch.optim.LBFGS([logits], max_iter=200)

    def loss() -> torch.Tensor:
        rows = logits.expand(len(labels), 4)
        return F.cross_entropy(rows, labels, weights, label_smoothing=spec.label_smoothing)

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        value = loss()
        value.backward()  # type: ignore[no-untyped-call]
        return value

    optimizer.step(closure)  # type: ignore[no-untyped-call]
    known = reference(spec, counts)
    assert known.prior == pytest.approx(loss().item(), rel=1e-3)
    assert known.floor < known.prior
    assert known.uniform == pytest.approx(math.log(4))
