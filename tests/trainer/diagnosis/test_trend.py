"""The slope of a noisy series, and the loss of guessing."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from trainer.diagnosis.reference import reference
from trainer.diagnosis.trend import trend
from trainer.engine.loss import ClassBalance, batch_loss
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
        {"class_weights": "effective"},
        {"focal_gamma": 2.0},
        {"focal_gamma": 0.5, "class_weights": "effective"},
        {"logit_adjustment": 1.0},
        {"sampling": "balanced"},
    ],
)
def test_the_prior_is_the_lowest_loss_of_a_constant_prediction(overrides: dict[str, object]) -> None:
    counts = np.array([600, 300, 90, 10])
    spec = build_spec("d", "baseline-cnn", overrides)
    balance = ClassBalance()
    if spec.class_weights != "none":
        beta = 0.999 if spec.class_weights == "effective" else 1 - 1e-9
        balance = ClassBalance(torch.tensor((1 - beta) / (1 - beta**counts)).float())
    if spec.logit_adjustment:
        balance = ClassBalance(shift=torch.tensor(np.log(counts / counts.sum())).float())
    drawn = [250] * 4 if spec.sampling == "balanced" else counts
    labels = torch.repeat_interleave(torch.arange(4), torch.tensor(drawn))
    logits = torch.zeros(4, requires_grad=True)
    optimizer = torch.optim.LBFGS([logits], max_iter=200)

    def loss() -> torch.Tensor:
        return batch_loss(spec, logits.expand(len(labels), 4), labels, balance)

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
