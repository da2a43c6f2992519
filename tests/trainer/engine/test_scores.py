"""Figures of classifiers equal scikit-learn's on random and degenerate inputs."""

from __future__ import annotations

import math
import warnings

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import balanced_accuracy_score, f1_score, precision_score, roc_auc_score

from trainer.engine.scores import class_scores, roc_auc


@settings(max_examples=200, deadline=None)
@given(
    pairs=st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6)), min_size=1, max_size=60),
    classes=st.integers(7, 12),
)
def test_class_scores(pairs: list[tuple[int, int]], classes: int) -> None:
    labels, guesses = (np.array(column) for column in zip(*pairs, strict=True))
    found = class_scores(torch.tensor(labels), torch.tensor(guesses), classes)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # scikit-learn warns of classes that are only guessed
        expected = {
            "macro_f1": f1_score(labels, guesses, average="macro", zero_division=0),
            "macro_precision": precision_score(labels, guesses, average="macro", zero_division=0),
            "balanced_acc": balanced_accuracy_score(labels, guesses),
        }
    assert found == pytest.approx(expected, abs=1e-12)


@settings(max_examples=100, deadline=None)
@given(
    count=st.integers(4, 80),
    classes=st.integers(2, 6),
    levels=st.sampled_from([2, 5, 10**6]),
    seed=st.integers(0, 2**31),
)
def test_area_under_the_roc_curve(count: int, classes: int, levels: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    labels = np.concatenate([np.arange(classes), rng.integers(0, classes, count)])
    scores = rng.integers(1, levels + 1, (len(labels), classes)).astype(np.float64)  # few levels: many ties
    scores /= scores.sum(1, keepdims=True)
    if classes == 2:
        expected = roc_auc_score(labels, scores[:, 1])
    else:
        expected = roc_auc_score(labels, scores, multi_class="ovr", average="macro")
    assert roc_auc(torch.tensor(labels), torch.tensor(scores)) == pytest.approx(expected, abs=1e-12)


def test_degenerate_inputs() -> None:
    none = torch.zeros(0, dtype=torch.int64)
    assert all(math.isnan(value) for value in class_scores(none, none, 3).values())
    assert math.isnan(roc_auc(torch.zeros(5, dtype=torch.int64), torch.rand(5, 2)))  # one class has all images
    ones = torch.ones(4, dtype=torch.int64)
    assert class_scores(ones, 0 * ones, 2) == {"macro_f1": 0, "macro_precision": 0, "balanced_acc": 0}
    assert roc_auc(torch.tensor([0, 1, 0]), torch.full((3, 4), 0.25)) == 0.5  # classes without images do not count
