"""Temperature and expected calibration error, on probabilities whose truth is known."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
import torch

from trainer.engine.calibration import BINS, FEWEST_IMAGES, fit_temperature, reliability, reliability_of, tempered


def drawn(temperature: float, count: int, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Log-probabilities (count, 10) of a model that is off by a temperature, and labels drawn from the true ones."""
    generator = torch.Generator().manual_seed(seed)
    logits = 2 * torch.randn(count, 10, generator=generator)
    labels = torch.multinomial(logits.softmax(1), 1, generator=generator).squeeze(1)
    return (logits * temperature).log_softmax(1), labels


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.5])
def test_the_temperature_is_found_and_corrects_the_probabilities(temperature: float) -> None:
    table, labels = drawn(temperature, 20_000)
    found = fit_temperature(table, labels)
    assert found is not None
    assert found == pytest.approx(temperature, rel=0.05)
    test_table, test_labels = drawn(temperature, 20_000, seed=1)
    before, after = reliability(test_table, test_labels), reliability(tempered(test_table, found), test_labels)
    assert after.ece < 0.01
    assert after.low < 0.002
    assert (before.ece > 0.05) == (temperature != 1)
    assert (before.overconfidence > 0.02) == (temperature > 1)
    assert (before.low, before.ece, before.high) == tuple(sorted((before.low, before.ece, before.high)))


def test_the_loss_is_lowest_at_the_temperature() -> None:
    table, labels = drawn(1.7, 500)
    found = fit_temperature(table, labels)
    assert found is not None

    def loss(temperature: float) -> float:
        return torch.nn.functional.nll_loss(tempered(table.double(), temperature), labels).item()

    assert loss(found) <= min(loss(found * 0.99), loss(found * 1.01))


def test_a_temperature_has_bounds() -> None:
    labels = torch.arange(100) % 3
    sure = torch.nn.functional.one_hot(labels, 3).float().mul(5).log_softmax(1)
    assert fit_temperature(sure, labels) == pytest.approx(0.25)  # all are right: the sharper, the better
    assert fit_temperature(sure, labels.roll(1)) == pytest.approx(20)
    assert fit_temperature(sure[: FEWEST_IMAGES - 1], labels[: FEWEST_IMAGES - 1]) is None
    underflown = torch.tensor([[0.0, -torch.inf]]).expand(100, 2)
    assert fit_temperature(underflown, torch.zeros(100, dtype=torch.int64)) is not None


def test_a_reliability_counted_by_hand() -> None:
    top = np.array([0.62, 0.65, 0.9, 1.0])
    found = reliability_of(top, np.array([True, False, True, True]))
    assert [(item.count, item.accuracy) for item in found.bins] == [(2, 0.5), (1, 1.0), (1, 1.0)]
    assert found.ece == pytest.approx((2 * 0.135 + 0.1 + 0) / 4)
    assert found.overconfidence == pytest.approx(top.mean() - 0.75)


@pytest.mark.parametrize(("power", "count"), [(1.0, 1000), (1.1, 1000), (2.0, 300), (2.0, 5000)])
def test_the_interval_covers_the_error_of_many_images(power: float, count: int) -> None:
    """Sets of images whose predictions of probability p are right with p ** power."""
    rng = np.random.default_rng(0)

    def sets(images: int) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.bool_]]:
        top = rng.beta(4, 1.5, images)
        return top, rng.random(images) < top**power

    many = rng.beta(4, 1.5, 1_000_000)
    place = np.clip(np.ceil(many * BINS).astype(int) - 1, 0, BINS - 1)
    truth = np.abs(np.bincount(place, many - many**power, BINS)).sum() / len(many)
    found = [reliability_of(*sets(count)) for _ in range(300)]
    covered = np.mean([item.low <= truth <= item.high for item in found])
    assert 0.9 <= covered <= 0.995
