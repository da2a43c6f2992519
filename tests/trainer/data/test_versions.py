"""What changed between two versions of a dataset."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from trainer.data.format import Fit, earlier_names
from trainer.data.survey import measure
from trainer.data.versions import Changes
from trainer.data.writer import write_dataset

PICTURES = np.random.default_rng(0).integers(0, 256, (12, 32, 32, 3), dtype=np.uint8)


def write(
    root: Path,
    name: str,
    classes: list[str],
    train: list[tuple[int, str]],
    test: list[tuple[int, str]],
    fit: Fit = "crop",
) -> None:
    """`train` and `test` are (picture, class)."""
    arrays = {
        split: (
            PICTURES[[picture for picture, _ in rows]],
            np.array([classes.index(label) for _, label in rows]),
            [f"{number}.png" for number in range(len(rows))],
        )
        for split, rows in (("train", train), ("test", test))
    }
    write_dataset(root, name, arrays=arrays, classes=classes, source="test", fit=fit)  # type: ignore[arg-type]


def test_images_are_added_removed_relabeled_and_moved(tmp_path: Path) -> None:
    write(tmp_path, "birds", ["a", "b"], [(0, "a"), (1, "a"), (2, "b"), (3, "b"), (3, "b")], [(4, "a"), (5, "b")])
    # The class of 0 has another number; 1 is b; 2 is gone; 3 is there once less; 4 has moved; 6 and 7 are new.
    after = [(0, "a"), (1, "b"), (3, "b"), (4, "a"), (6, "0")]
    write(tmp_path, "birds@2", ["0", "a", "b"], after, [(5, "b"), (7, "a")])
    assert measure(tmp_path, "birds")[0].changes is None
    found = measure(tmp_path, "birds@2")[0].changes
    assert found == Changes(since="birds", added=2, removed=2, relabeled=1, moved=1, added_classes=["0"])


def test_a_version_is_compared_with_the_latest_before_it_that_exists(tmp_path: Path) -> None:
    assert list(earlier_names("birds@4")) == ["birds@3", "birds@2", "birds"]
    assert list(earlier_names("birds")) == []
    rows = [(0, "a"), (1, "b")]
    write(tmp_path, "birds", ["a", "b"], rows, rows)
    write(tmp_path, "birds@3", ["a", "b"], rows, rows, fit="pad")
    assert measure(tmp_path, "birds@3")[0].changes == Changes(since="birds", comparable=False)


@pytest.mark.parametrize("seed", range(5))
def test_counts_are_those_of_a_plain_comparison(tmp_path: Path, seed: int) -> None:
    rng = np.random.default_rng(seed)
    classes = ["a", "b", "c"]
    versions = []
    for _ in range(2):
        chosen = 1 + rng.permutation(11)[: rng.integers(4, 11)]
        versions.append([(int(picture), classes[rng.integers(3)]) for picture in chosen])
    for name, rows in zip(("x", "x@2"), versions, strict=True):
        write(tmp_path, name, classes, rows, [(0, "a")])
    before, after = map(dict, versions)
    found = measure(tmp_path, "x@2")[0].changes
    assert found is not None
    assert found.added == len(after.keys() - before.keys())
    assert found.removed == len(before.keys() - after.keys())
    assert found.relabeled == sum(before[picture] != after[picture] for picture in before.keys() & after.keys())
