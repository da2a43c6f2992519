"""Accuracy of nearest neighbors, against scikit-learn's classifier."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.neighbors import KNeighborsClassifier

from trainer.engine.neighbors import NEIGHBORS, TEMPERATURE, neighbor_accuracy


@pytest.mark.parametrize("count", [10, 600])
def test_the_accuracy_is_that_of_scikit_learn(count: int) -> None:
    draws = np.random.default_rng(0)
    centers, labels = draws.normal(size=(7, 16)), draws.integers(0, 7, count)
    known = (centers[labels] + draws.normal(scale=2.0, size=(count, 16))).astype(np.float32)
    asked_labels = draws.integers(0, 7, 500)
    asked = (centers[asked_labels] + draws.normal(scale=2.0, size=(500, 16))).astype(np.float32)
    reference = KNeighborsClassifier(
        min(NEIGHBORS, count),
        metric="cosine",
        algorithm="brute",
        weights=lambda distances: np.exp((1 - distances) / TEMPERATURE),
    ).fit(known, labels)
    taught = torch.from_numpy(known), torch.from_numpy(labels)
    found = neighbor_accuracy(*taught, torch.from_numpy(asked), torch.from_numpy(asked_labels), 7)
    assert found == pytest.approx(reference.score(asked, asked_labels), abs=0.004)  # ties of rounded similarities
    assert 0.2 < found < 1


def test_nothing_is_right_of_nothing() -> None:
    nothing = torch.zeros(0, 4), torch.zeros(0, dtype=torch.int64)
    assert neighbor_accuracy(torch.ones(3, 4), torch.zeros(3, dtype=torch.int64), *nothing, 2) == 0.0
