"""Overfitting, confused classes and disagreeing splits, on simulated predictions: how often noise is told."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from trainer.diagnosis.validation import Losses, confused_classes, rare_classes, splits_disagree
from trainer.rundir.answers import Answers
from trainer.spec.preset import build_spec

IMAGES = 400


def answers(step: int, losses: npt.NDArray[np.float64]) -> Answers:
    own = np.exp(-losses).astype(np.float16)
    row, guess = np.arange(len(own), dtype=np.int32), np.zeros(len(own), np.int16)
    return Answers(step, row, guess, own, own)


def is_told(seed: int, drift: float, epochs: int = 20) -> bool:
    """Whether a rise is certain at two evaluations in a row, in a run whose mean loss changes by `drift` per epoch."""
    rng = np.random.default_rng(seed)
    own, losses, before, told = rng.gamma(2, 0.5, IMAGES), Losses.empty(), False, False
    for epoch in range(epochs):
        wobble = rng.normal(0, 0.05)  # that of the whole network
        losses.add(answers(epoch, np.abs(own * (1 + drift * epoch + wobble) + rng.normal(0, 0.3, IMAGES))))
        certain = losses.rise is not None and losses.rise.is_certain
        told, before = told or (certain and before), certain
    return told


def test_noise_is_not_taken_for_overfitting_and_a_rise_is_found() -> None:
    assert sum(is_told(seed, -0.01) for seed in range(40)) <= 2
    assert sum(is_told(seed, 0) for seed in range(40)) <= 3
    assert sum(is_told(seed, 0.04) for seed in range(40)) >= 36


def test_classes_that_show_the_same_are_named_and_others_are_not() -> None:
    rng = np.random.default_rng(0)
    labels = np.repeat(np.arange(6), 40)
    names = [f"c{index}" for index in range(6)]
    right = np.where(rng.random(len(labels)) < 0.9, labels, rng.integers(0, 6, len(labels)))
    assert confused_classes(right, labels, names) is None
    mixed = np.where(labels < 2, rng.integers(0, 2, len(labels)), right)
    found = confused_classes(mixed, labels, names)
    assert found is not None
    assert "c0 and c1" in found.message or "c1 and c0" in found.message
    guessing = rng.integers(0, 6, len(labels))
    assert confused_classes(guessing, labels, names) is None


def test_rare_classes_that_are_not_recognized() -> None:
    spec, counts = build_spec("d", "baseline-cnn", {}), np.array([500, 400, 10, 5])
    labels = np.repeat(np.arange(4), [100, 80, 10, 10])
    found = rare_classes(spec, labels < 2, labels, counts)
    assert found is not None
    assert found.remedy is not None
    assert rare_classes(spec, np.ones(len(labels), bool), labels, counts) is None
    weighted = build_spec("d", "baseline-cnn", {"class_weights": "balanced"})
    assert rare_classes(weighted, labels < 2, labels, counts) is None


def test_test_and_validation_are_compared_as_two_proportions() -> None:
    rng, labels, even = np.random.default_rng(0), np.repeat(np.arange(4), [300, 60, 30, 10]), np.full(4, 150)

    def guesses(accuracy: npt.NDArray[np.float64]) -> npt.NDArray[np.int64]:
        return np.where(rng.random(len(labels)) < accuracy[labels], labels, (labels + 1) % 4)

    found = splits_disagree(0.036, even, guesses(np.full(4, 0.745)), labels)
    assert found is not None
    assert found.level == "fail"
    own = np.array([0.9, 0.6, 0.5, 0.3])  # rare classes are recognized less often, and the test has as many of each
    told = [splits_disagree(rng.binomial(600, own.mean()) / 600, even, guesses(own), labels) for _ in range(200)]
    assert told.count(None) >= 199
    assert splits_disagree(0.0, np.full(4, 5), guesses(own), labels) is None
