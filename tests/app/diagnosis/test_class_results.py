"""Recall, precision and F1 by class equal scikit-learn's, and their intervals cover what they should."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import confusion_matrix, precision_recall_fscore_support

from app.diagnosis.class_results import as_csv, averages, class_results

NAMES = tuple("abcdef")


@settings(max_examples=100, deadline=None)
@given(pairs=st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), min_size=1, max_size=50))
def test_figures_equal_scikit_learns(pairs: list[tuple[int, int]]) -> None:
    labels, guesses = (np.array(column, np.int64) for column in zip(*pairs, strict=True))
    matrix = confusion_matrix(labels, guesses, labels=range(6))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        each = precision_recall_fscore_support(labels, guesses, labels=range(6), zero_division=0)
        mean = precision_recall_fscore_support(labels, guesses, average="macro", zero_division=0)
    for item in class_results(matrix, NAMES, labels, np.arange(len(labels), dtype=np.int32)):
        assert (item.precision or 0, item.recall, item.f1) == pytest.approx([column[item.index] for column in each[:3]])
        assert item.f1_interval[0] - 1e-12 <= item.f1 <= item.f1_interval[1] + 1e-12
    found = averages(matrix)
    assert (found.precision, found.recall, found.f1) == pytest.approx(mean[:3])


def test_the_interval_of_f1_covers_it() -> None:
    rng = np.random.default_rng(0)
    shares = np.array([0.12, 0.05, 0.03, 0.8])  # right, missed, taken for it, all others
    truth = 2 * shares[0] / (2 * shares[0] + shares[1] + shares[2])
    covered = 0
    for right, missed, taken, others in rng.multinomial(300, shares, 1000):
        matrix = np.array([[right, missed], [taken, others]])
        (item,) = (
            one for one in class_results(matrix, NAMES, np.arange(2), np.arange(2, dtype=np.int32)) if one.index == 0
        )
        low, high = item.f1_interval
        covered += low <= truth <= high
    assert 0.93 <= covered / 1000 <= 0.98


def test_a_class_that_is_never_predicted_has_no_precision() -> None:
    results = class_results(np.array([[0, 3], [0, 4]]), ("=1+1", "b"), np.arange(2), np.arange(2, dtype=np.int32))
    assert [(item.label, item.precision, item.f1) for item in results] == [("=1+1", None, 0), ("b", 4 / 7, 8 / 11)]
    lines = list(as_csv(results))
    assert lines[1].startswith("'=1+1,3,0,0,0.0000,0.0000,")
    assert ",,0.0000,1.0000,0.0000," in lines[1]  # no precision, and an interval that says nothing
