"""Coverage and accuracy under a threshold, counted by hand and at random."""

from __future__ import annotations

import numpy as np
import pytest

from app.models.coverage import MOST_POINTS, TARGETS, coverage


def test_thresholds_counted_by_hand() -> None:
    top = np.array([0.5, 0.9, 0.9, 0.7, 0.99])
    right = np.array([False, True, True, False, True])
    found = coverage(top, right, 0.6)
    assert found.images == 5
    for _, option in found.options:
        assert option is not None
        assert (option.threshold, option.coverage, option.accuracy) == (0.9, 0.6, 1.0)
    assert found.now is not None
    assert (found.now.coverage, found.now.accuracy) == (0.8, 0.75)
    assert found.path == "M20.0 0.0L60.0 0.0L80.0 25.0L100.0 40.0"


def test_an_option_keeps_its_promise_and_covers_as_much_as_it_can() -> None:
    rng = np.random.default_rng(0)
    top = rng.beta(4, 1.5, 3000)
    right = rng.random(3000) < top
    found = coverage(top, right, None)
    assert found.now is None
    assert found.path.count("L") < MOST_POINTS
    for target, option in found.options:
        assert option is not None
        assert option.accuracy >= target - 1e-3  # rounding the threshold may add an image
        assert right[top >= option.threshold - 0.02].mean() < target
        assert option.interval[0] < option.accuracy <= option.interval[1]
    assert [target for target, _ in found.options] == list(TARGETS)


def test_a_model_that_is_never_right() -> None:
    found = coverage(np.array([0.9, 0.8]), np.array([False, False]), 0.95)
    assert all(option is None for _, option in found.options)
    assert found.now is not None
    assert found.now.coverage == 0
    assert np.isnan(found.now.accuracy)


@pytest.mark.parametrize("threshold", [0.0, 1.0])
def test_extreme_thresholds(threshold: float) -> None:
    found = coverage(np.array([1.0, 0.2]), np.array([True, False]), threshold)
    assert found.now is not None
    assert found.now.coverage == (1.0 if threshold == 0 else 0.5)
