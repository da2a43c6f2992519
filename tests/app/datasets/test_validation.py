from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from app.datasets.validation import validation_of_dataset, validation_of_run
from tests.trainer.data.own_validation import make_grouped, make_own_validation, make_uneven
from trainer.data.format import read_labels
from trainer.data.groups import read_groups
from trainer.data.splits import validation_counts, validation_split
from trainer.plan.prepared import prepared


@pytest.mark.parametrize(
    ("counts", "overrides", "words"),
    [
        (
            (100,) * 10,
            {"val_fraction": 0.02},
            "20 images held out of train (2%), at least one per class; too few to tell recipes apart",
        ),
        (
            (20,) * 10,
            {"val_fraction": 0.02},
            "10 images held out of train (5%), at least one per class; too few to tell recipes apart",
        ),
        (
            (3, 1, 1),
            {},
            "1 image held out of train (20%), at least one per class; not validated: 2 classes (b, c) with only one "
            "training image; too few to tell recipes apart",
        ),
        ((1, 1), {}, "none: every class has only one training image"),
        ((9, 9), {"val_fraction": 0}, "none: val_fraction is 0"),
    ],
)
def test_a_held_out_share(tmp_path: Path, counts: tuple[int, ...], overrides: dict[str, Any], words: str) -> None:
    make_uneven(tmp_path, counts)
    ready = prepared("uneven", "baseline-cnn", overrides, tmp_path)
    assert validation_of_run(ready.spec, ready.record, ready.validation) == words


def test_an_own_split(tmp_path: Path) -> None:
    make_own_validation(tmp_path)
    ready = prepared("own", "baseline-cnn", {"val_fraction": 0}, tmp_path)
    words = "own validation split, 10 images; not validated: 1 class (cow)"
    assert validation_of_run(ready.spec, ready.record, ready.validation) == words


def test_whole_groups_are_held_out(tmp_path: Path) -> None:
    record = make_grouped(tmp_path)
    labels, groups = read_labels(tmp_path, "grouped", "train"), read_groups(tmp_path, record, "train")
    for fraction in (0.05, 0.1, 0.3):
        ready = prepared("grouped", "baseline-cnn", {"val_fraction": fraction}, tmp_path)
        split = validation_split(ready.spec, record, labels, tmp_path)
        assert set(groups[split.rows]).isdisjoint(groups[split.train_rows])
        assert 0 not in groups[split.rows]  # the class "cow" would not be trained on
        assert ready.validation.per_class.tolist() == np.bincount(labels[split.rows], minlength=3).tolist()
        assert abs(len(split.rows) / 120 - fraction) < 0.1
        assert validation_of_run(ready.spec, record, ready.validation) == (
            f"{len(split.rows)} images held out of train ({100 * len(split.rows) / 120:.2g}%), whole groups; "
            "not validated: 1 class (cow) with images in too few groups"
            + ("; too few to tell recipes apart" if len(split.rows) < 30 else "")
        )


def test_a_run_of_an_earlier_version(tmp_path: Path) -> None:
    record = make_uneven(tmp_path, (20, 20, 3))
    spec = prepared("uneven", "baseline-cnn", {}, tmp_path).spec
    spec = spec.model_copy(update={"dataset": spec.dataset.model_copy(update={"split_seed": "run"})})
    assert validation_of_run(spec, record, validation_counts(spec, record, tmp_path)) == (
        "4 images held out of train (9.3%), drawn with the seed of the run, as in earlier versions; "
        "not validated: 1 class (c) with too few training images; too few to tell recipes apart"
    )


def test_a_dataset() -> None:
    held_out = (
        "each run holds out 10% of train ({}) by default, at least one image per class. Runs with the same validation "
        "split are validated on the same images"
    )
    assert validation_of_dataset(["a", "b"], [2, 300], [0, 0]) == held_out.format("31 images")
    many = validation_of_dataset([f"c{index}" for index in range(8)], [9, *[1] * 7], [0] * 8)
    single = "7 classes (c1, c2, c3, c4, c5 and 2 more) with only one training image"
    assert many == f"{held_out.format('1 image')}; not validated: {single}"
    assert validation_of_dataset(["a", "b"], [2, 3], [1, 4]) == "own validation split, 5 images"
