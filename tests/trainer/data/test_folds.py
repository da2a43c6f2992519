"""Groups are never parted, and classes keep images to train on."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.model_selection import StratifiedGroupKFold

from trainer.data.folds import ALWAYS_TRAINED, FOLDS, cross_validation_folds, draw_folds, held_out
from trainer.data.format import Labels


def planted(seed: int, *, groups: int = 40, classes: int = 5, images: int = 600) -> tuple[Labels, Labels]:
    """Labels and groups (N): groups of uneven sizes, which favor some classes."""
    rng = np.random.default_rng(seed)
    of = rng.choice(groups, images, p=rng.dirichlet(np.full(groups, 2.0)))
    favorites = rng.dirichlet(np.ones(classes), groups)
    labels = np.array([rng.choice(classes, p=favorites[group]) for group in of])
    return np.concatenate([labels, np.arange(classes)]), np.concatenate([of, np.arange(classes)])


@pytest.mark.parametrize("seed", range(100))
def test_planted_groups_are_never_parted(seed: int) -> None:
    labels, groups = planted(seed)
    folds = draw_folds(labels, groups, seed)
    assert all(len(set(folds[groups == group])) == 1 for group in np.unique(groups))
    for fraction in (0.02, 0.1, 0.2, 0.5):
        held = held_out(folds, labels, groups, fraction)
        assert set(groups[held]).isdisjoint(groups[~held])
        assert set(labels[~held]) == set(labels)
        assert held.any()
    assert abs(held_out(folds, labels, groups, 0.2).mean() - 0.2) < 0.1


@settings(max_examples=100, deadline=None)
@given(
    images=st.lists(st.tuples(st.integers(0, 4), st.integers(0, 7)), min_size=1, max_size=40),
    fraction=st.floats(0, 0.9),
    seed=st.integers(0, 2**31),
)
def test_any_groups(images: list[tuple[int, int]], fraction: float, seed: int) -> None:
    labels, groups = (np.array(column, np.int64) for column in zip(*images, strict=True))
    folds = draw_folds(labels, groups, seed)
    assert np.array_equal(folds, draw_folds(labels, groups, seed))
    held = held_out(folds, labels, groups, fraction)
    assert set(groups[held]).isdisjoint(groups[~held])
    assert set(labels[~held]) == set(labels)
    assert fraction > 0 or not held.any()


def test_classes_are_spread_over_the_folds() -> None:
    labels = np.tile(np.arange(4), 200)
    groups = np.repeat(np.arange(100), 8)
    folds = draw_folds(labels, groups, 0)
    counts = np.array([np.bincount(labels[folds == fold], minlength=4) for fold in range(FOLDS)])
    assert counts.min() == counts.max() == 10
    held = held_out(folds, labels, groups, 0.1)
    assert np.bincount(labels[held]).tolist() == [20] * 4


def test_one_group_is_always_trained_on() -> None:
    labels, groups = np.arange(4) % 2, np.zeros(4, np.int64)
    assert draw_folds(labels, groups, 0).tolist() == [ALWAYS_TRAINED] * 4
    assert not held_out(draw_folds(labels, groups, 0), labels, groups, 0.5).any()


def test_a_class_within_one_group_stays_in_training() -> None:
    labels = np.array([0, 0, 0, 0, 1, 1])
    groups = np.array([0, 1, 2, 3, 4, 4])
    for seed in range(20):
        held = held_out(draw_folds(labels, groups, seed), labels, groups, 0.4)
        assert not held[groups == 4].any()


@pytest.mark.parametrize("count", [2, 5, 20])
def test_a_cross_validation_spreads_each_class_evenly(count: int) -> None:
    labels = np.random.default_rng(0).permutation(np.repeat(np.arange(4), [203, 60, 21, 3]))
    folds = cross_validation_folds(labels, None, count, seed=2**127)
    table = np.array([np.bincount(labels[folds == fold], minlength=4) for fold in range(count)])
    assert table.sum() == len(labels)
    assert (np.ptp(table, axis=0) <= 1).all()
    assert np.ptp(table.sum(1)) <= 1
    assert np.array_equal(folds, cross_validation_folds(labels, None, count, seed=2**127))
    assert not np.array_equal(folds, cross_validation_folds(labels, None, count, seed=1))


@pytest.mark.parametrize("seed", range(20))
def test_a_cross_validation_parts_no_group_and_is_as_even_as_that_of_scikit_learn(seed: int) -> None:
    labels, groups = planted(seed)
    groups = groups * 3 + 7  # numbers need not be consecutive
    folds = cross_validation_folds(labels, groups, 5, seed)
    assert all(len(set(folds[groups == group])) == 1 for group in np.unique(groups))
    assert set(folds) == set(range(5))

    def unevenness(parts: list[Labels]) -> float:
        shares = [np.bincount(labels[rows], minlength=5) / np.bincount(labels) for rows in parts]
        return float(np.std(shares, axis=0).mean())

    splitter = StratifiedGroupKFold(5, shuffle=True, random_state=seed)
    theirs = [rows for _, rows in splitter.split(labels, labels, groups)]
    assert unevenness([np.flatnonzero(folds == fold) for fold in range(5)]) < 1.5 * unevenness(theirs) + 0.01
