from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.trainer.data.own_validation import make_grouped, make_own_validation, make_uneven
from trainer.data.format import DatasetRecord, read_labels
from trainer.data.groups import read_groups
from trainer.data.splits import held_out_counts, stratified_split, validation_counts, validation_split
from trainer.spec.preset import build_spec
from trainer.spec.train_spec import TrainSpec

UNEVEN = np.repeat(np.arange(5), [40, 7, 3, 1, 2])


def spec_of(record: DatasetRecord, drawn_with: int | str = "dataset", **overrides: Any) -> TrainSpec:
    spec = build_spec(record.name, "baseline-cnn", overrides)
    pinned = spec.dataset.model_copy(update={"sha256": record.sha256, "split_seed": drawn_with})
    return spec.model_copy(update={"dataset": pinned})


def held_out(record: DatasetRecord, labels: np.ndarray, drawn_with: int | str, **overrides: Any) -> list[int]:
    found: list[int] = validation_split(spec_of(record, drawn_with, **overrides), record, labels, Path()).rows.tolist()
    return found


def test_each_class_of_two_images_has_one_held_out_and_one_to_train_on() -> None:
    train, held = stratified_split(UNEVEN, 0.02, 1, at_least_one=True)
    assert np.bincount(UNEVEN[held], minlength=5).tolist() == [1, 1, 1, 0, 1]
    assert np.bincount(UNEVEN[train], minlength=5).tolist() == [39, 6, 2, 1, 1]


@given(
    st.lists(st.integers(0, 30), min_size=1, max_size=8),
    st.floats(0, 0.5),
    st.integers(0, 2**128 - 1),
    st.booleans(),
)
def test_counts_are_those_of_the_rows(counts: list[int], fraction: float, seed: int, at_least_one: bool) -> None:
    labels = np.random.default_rng(0).permutation(np.repeat(np.arange(len(counts)), counts))
    train, held = stratified_split(labels, fraction, seed, at_least_one=at_least_one)
    assert sorted([*train, *held]) == list(range(len(labels)))
    found = np.bincount(labels[held], minlength=len(counts)).tolist()
    assert found == held_out_counts(np.array(counts), fraction, at_least_one=at_least_one).tolist()


def test_the_share_is_drawn_from_the_dataset_whatever_the_seed_of_the_run(tmp_path: Path) -> None:
    record = make_uneven(tmp_path / "a")
    labels = read_labels(tmp_path / "a", record.name, "train")
    rows = [held_out(record, labels, "dataset", seed=seed, val_fraction=0.1) for seed in range(3)]
    assert rows[0] == rows[1] == rows[2]
    again = make_uneven(tmp_path / "b")
    assert held_out(again, labels, "dataset", val_fraction=0.1) == rows[0]
    other = make_uneven(tmp_path / "c", pixel=9)
    assert held_out(other, labels, "dataset", val_fraction=0.1) != rows[0]


@pytest.mark.parametrize(
    ("fraction", "seed", "rows"),
    [
        (0.1, 5, [6, 13, 28, 29, 44]),
        (0.25, 7, [6, 10, 19, 22, 23, 24, 31, 33, 38, 39, 40, 42, 49]),
    ],
)
def test_a_run_of_an_earlier_version_keeps_its_split(
    tmp_path: Path, fraction: float, seed: int, rows: list[int]
) -> None:
    """The rows are those that version 0.1.0 drew."""
    record = make_uneven(tmp_path)
    assert record.train_count == len(UNEVEN)
    old = TrainSpec.model_validate({"dataset": {"name": "uneven"}, "val_fraction": fraction, "seed": seed})
    assert old.dataset.split_seed == "run"
    assert validation_split(old, record, UNEVEN, tmp_path).rows.tolist() == rows
    assert validation_counts(old, record, tmp_path).total == len(rows)
    # A run that starts with its weights holds out the same images, whatever its own seed.
    assert held_out(record, UNEVEN, seed, val_fraction=fraction, seed=seed + 1) == rows


def test_an_own_validation_split_is_used_whole(tmp_path: Path) -> None:
    record = make_own_validation(tmp_path)
    labels = read_labels(tmp_path, record.name, "train")
    for fraction in (0, 0.1):
        spec = spec_of(record, val_fraction=fraction)
        found = validation_split(spec, record, labels, tmp_path)
        assert found.split == "val"
        assert found.rows.tolist() == list(range(record.val_count))
        assert found.train_rows.tolist() == list(range(record.train_count))
        counts = validation_counts(spec, record, tmp_path)
        assert (counts.total, counts.held_out, counts.missing) == (record.val_count, 0, [2])
        assert spec.validates


@pytest.mark.parametrize("make", [make_uneven, make_grouped])
def test_each_training_image_is_held_out_by_one_fold(tmp_path: Path, make: Callable[[Path], DatasetRecord]) -> None:
    record = make(tmp_path)
    labels = read_labels(tmp_path, record.name, "train")
    held: list[int] = []
    for fold in (1, 2, 3):
        for seed in (0, 1):  # all runs on the dataset agree
            spec = spec_of(record, val_folds=3, val_fold=fold, val_fraction=0, seed=seed)
            split = validation_split(spec, record, labels, tmp_path)
            counts = validation_counts(spec, record, tmp_path)
            assert spec.validates
            assert sorted([*split.rows, *split.train_rows]) == list(range(record.train_count))
            assert (
                np.bincount(labels[split.rows], minlength=len(counts.per_class)).tolist() == counts.per_class.tolist()
            )
            assert set(counts.untrained) == set(labels) - set(labels[split.train_rows])
            if record.groups is not None:
                groups = read_groups(tmp_path, record, "train")
                assert set(groups[split.rows]).isdisjoint(groups[split.train_rows])
        held += split.rows.tolist()
    assert sorted(held) == list(range(record.train_count))
