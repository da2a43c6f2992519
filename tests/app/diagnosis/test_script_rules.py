"""What is told of a script's losses, and that nothing is told of healthy ones."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pytest

from app.diagnosis.script_rules import Loss, Losses, judge

Curve = Callable[[npt.NDArray[np.float64], np.random.Generator], npt.NDArray[np.float64]]
SEEDS = range(20)


def loss(name: str, steps: npt.NDArray[np.int64], values: npt.NDArray[np.float64]) -> Loss:
    return Loss(name, steps, values)


def losses(train: Curve, val: Curve | None, seed: int, *, points: int = 300, validations: int = 20) -> Losses:
    """Curves over a share of the run, from 0 to 1."""
    rng = np.random.default_rng(seed)
    steps = np.arange(points, dtype=np.int64) * 10
    found = loss("train/loss", steps, train(steps / steps[-1], rng))
    if val is None:
        return Losses(found, None)
    at = np.linspace(steps[-1] / validations, steps[-1], validations).astype(np.int64)
    return Losses(found, loss("val/loss", at, val(at / steps[-1], rng)))


def noise(rng: np.random.Generator, x: npt.NDArray[np.float64], size: float) -> npt.NDArray[np.float64]:
    return rng.normal(0, size, len(x))


HEALTHY: dict[str, tuple[Curve, Curve | None]] = {
    "falls": (lambda x, r: 2.3 / (1 + 9 * x) + noise(r, x, 0.03), lambda x, r: 2.3 / (1 + 7 * x) + noise(r, x, 0.01)),
    "cosine": (
        lambda x, r: 0.3 + 2 * (0.5 + 0.5 * np.cos(math.pi * x)) ** 1.5 + noise(r, x, 0.05),
        lambda x, r: 0.5 + 1.8 * (0.5 + 0.5 * np.cos(math.pi * x)) ** 1.5 + noise(r, x, 0.02),
    ),
    "noisy": (
        lambda x, r: 1 + np.exp(-4 * x) + noise(r, x, 0.2),
        lambda x, r: 1.1 + np.exp(-3 * x) + noise(r, x, 0.05),
    ),
    "a spike": (
        lambda x, r: np.where(np.abs(x - 0.4) < 0.01, 9.0, np.exp(-3 * x)) + 0.2 + np.abs(noise(r, x, 0.01)),
        lambda x, r: np.exp(-3 * x) + 0.25 + noise(r, x, 0.005),
    ),
    "language model": (
        lambda x, r: 10.8 * (1 + 40 * x) ** -0.3 + noise(r, x, 0.06),
        lambda x, r: 10.8 * (1 + 40 * x) ** -0.29 + noise(r, x, 0.01),
    ),
    "negative": (lambda x, r: -120 * x + noise(r, x, 4), lambda x, r: -110 * x + noise(r, x, 2)),
    "warmup bump": (
        lambda x, r: 2.3 + 0.5 * np.sin(np.clip(x, 0, 0.1) * 31) - 1.9 * x + noise(r, x, 0.03),
        lambda x, r: 2.4 - 1.8 * x + noise(r, x, 0.02),
    ),
    "no validation": (lambda x, r: np.exp(-2 * x) + noise(r, x, 0.02), None),
    "val slightly up at the end": (
        lambda x, r: np.exp(-4 * x) + 0.02 + np.abs(noise(r, x, 0.01)),
        lambda x, r: 0.4 + np.exp(-6 * x) + 0.02 * np.clip(x - 0.8, 0, 1) + noise(r, x, 0.01),
    ),
}


@pytest.mark.parametrize("name", HEALTHY)
def test_nothing_is_told_of_a_healthy_run_at_any_time(name: str) -> None:
    train, val = HEALTHY[name]
    for seed in SEEDS:
        whole = losses(train, val, seed)
        assert whole.train is not None
        for until in np.linspace(0.05, 1, 12):
            step = int(until * whole.train.steps[-1])
            found = judge(Losses(before(whole.train, step), before(whole.val, step)))
            assert found == [], (name, seed, until, found[0].message)


def before(item: Loss | None, step: int) -> Loss | None:
    if item is None:
        return None
    kept = item.steps <= step
    return Loss(item.name, item.steps[kept], item.values[kept])


def kinds(found: Losses) -> list[str]:
    return [item.kind for item in judge(found)]


@pytest.mark.parametrize("seed", SEEDS)
def test_overfitting(seed: int) -> None:
    found = losses(
        lambda x, r: np.exp(-4 * x) + 0.02 + np.abs(noise(r, x, 0.01)),
        lambda x, r: 0.6 + np.exp(-9 * x) + 0.8 * np.clip(x - 0.3, 0, 1) + noise(r, x, 0.01),
        seed,
    )
    assert kinds(found) == ["overfitting"]


@pytest.mark.parametrize("seed", SEEDS)
def test_divergence(seed: int) -> None:
    found = losses(lambda x, r: 2.3 + 20 * np.clip(x - 0.2, 0, 1) + np.abs(noise(r, x, 0.3)), None, seed)
    assert kinds(found) == ["diverged"]


def test_plateaus_are_found() -> None:
    def flat(x: npt.NDArray[np.float64], rng: np.random.Generator) -> npt.NDArray[np.float64]:
        return 1 + np.exp(-30 * x) + noise(rng, x, 0.004)

    found = [losses(flat, flat, seed, validations=40) for seed in SEEDS]
    # Noise may make one of the last validations the best.
    assert sum(kinds(one) == ["plateau"] for one in found) >= len(SEEDS) // 2
    assert all(kinds(Losses(one.train, one.val, ended=True)) == [] for one in found)


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_losses_that_are_not_finite(bad: float) -> None:
    steps = np.arange(40, dtype=np.int64)
    values = np.exp(-steps / 10)
    once = values.copy()
    once[20] = once[39] = bad
    assert kinds(Losses(loss("loss", steps, once), None)) == []
    assert kinds(Losses(loss("loss", steps, once), None, ended=True)) == ["nonfinite"]
    values[30:] = bad
    (found,) = judge(Losses(loss("loss", steps, values), None))
    assert found.level == "fail"
    assert "since step 30" in found.message


def test_short_runs_and_empty_ones() -> None:
    steps = np.arange(3, dtype=np.int64)
    assert judge(Losses(None, None)) == []
    for values in ([1.0, 2.0, 9.0], [0.0, 0.0, 0.0], [-1.0, math.nan, 3.0]):
        item = loss("loss", steps, np.array(values))
        assert judge(Losses(item, None)) == judge(Losses(item, item)) == []
