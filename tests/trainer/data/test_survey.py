"""What is doubtful in a dataset, counted on one made by hand and on CIFAR-100 where it is there."""

from __future__ import annotations

import os
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from trainer.data.survey import MOST_GROUPS, Where, measure, read, write
from trainer.data.writer import write_dataset

PLACES: tuple[Where, ...] = ("train", "test", "across")


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Train: 0 and 1 are equal (both a), 2 and 3 too (a and b), 4 is alone (c). The first of test equals train's 4."""
    folder = tmp_path_factory.mktemp("data")
    rng = np.random.default_rng(0)
    pictures = rng.integers(0, 256, (4, 32, 32, 3), dtype=np.uint8)
    pictures[3] = 200
    train = pictures[[0, 0, 1, 1, 2]]
    test = pictures[[2, 3]]
    arrays: dict[Any, Any] = {
        "train": (train, np.array([0, 0, 0, 1, 2]), ["a/1.png", "a/2.png", "a/3.png", "b/3.png", "c/4.png"]),
        "test": (test, np.array([2, 0]), ["c/1.png", "a/2.png"]),
    }
    write_dataset(folder, "small", arrays=arrays, classes=["a", "b", "c"], source="test")
    return folder


def test_duplicates_conflicts_and_names(root: Path) -> None:
    statistics, measures = measure(root, "small")
    assert statistics.counts == {"train": [3, 1, 1], "test": [1, 0, 1]}
    found = [(group.where, [(twin.split, twin.index) for twin in group.images]) for group in statistics.duplicates]
    assert found == [
        ("train", [("train", 0), ("train", 1)]),
        ("train", [("train", 2), ("train", 3)]),
        ("across", [("train", 4), ("test", 0)]),
    ]
    assert [group.conflict for group in statistics.duplicates] == [False, True, False]
    assert len(statistics.groups("train", conflict=True)) == 1
    assert [(item.split, item.file) for item in statistics.repeated_names] == [("train", "3.png")]
    assert measures.brightness["test"][1] == 200
    assert measures.contrast["test"][1] == 0


def test_own_validation_images_are_measured_too(tmp_path: Path) -> None:
    pictures = np.random.default_rng(1).integers(0, 256, (4, 32, 32, 3), dtype=np.uint8)
    rows = {"train": [0, 1], "val": [1, 2, 2], "test": [3, 3]}
    arrays: dict[Any, Any] = {
        split: (pictures[chosen], np.arange(len(chosen)) % 2, [f"{row}.png" for row in range(len(chosen))])
        for split, chosen in rows.items()
    }
    write_dataset(tmp_path, "own", arrays=arrays, classes=["a", "b"], source="test")
    write(tmp_path, "own", tmp_path / "cache")
    found = read(tmp_path / "cache")
    assert found is not None
    statistics, measures = found
    assert statistics.counts == {"train": [1, 1], "test": [1, 1], "val": [2, 1]}
    assert {group.where for group in statistics.duplicates} == {"across", "val", "test"}
    assert measures.brightness["val"].shape == (3,)


def test_what_was_measured_is_kept(root: Path, tmp_path: Path) -> None:
    assert read(tmp_path / "cache") is None
    write(root, "small", tmp_path / "cache")
    found = read(tmp_path / "cache")
    assert found is not None
    statistics, measures = measure(root, "small")
    assert found[0] == statistics
    np.testing.assert_array_equal(found[1].means, measures.means)
    np.testing.assert_array_equal(found[1].brightness["train"], measures.brightness["train"])


def test_mean_images(root: Path) -> None:
    _, measures = measure(root, "small")
    images = np.load(root / "small" / "train.images.npy")
    np.testing.assert_array_equal(measures.means[0], images[:3].mean(0).round())
    np.testing.assert_array_equal(measures.means[2], images[4])


def test_memory_does_not_grow_by_objects_per_image(tmp_path: Path) -> None:
    """80,000 images of one pixel, each twice, under 40,000 file names of two classes."""
    count = 80_000
    numbers = np.arange(count) // 2
    pixels = np.stack([numbers % 256, numbers // 256, numbers * 0], 1).astype(np.uint8).reshape(-1, 1, 1, 3)
    files = [f"{'ab'[row % 2]}/{row // 2}.png" for row in range(count)]
    arrays: dict[Any, Any] = {
        "train": (pixels, np.arange(count) % 2, files),
        "test": (pixels[:2], np.array([0, 1]), ["a/x.png", "b/y.png"]),
    }
    write_dataset(tmp_path, "many", arrays=arrays, classes=["a", "b"], source="test")
    tracemalloc.start()
    try:
        statistics, _ = measure(tmp_path, "many")
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert len(statistics.duplicates) == MOST_GROUPS
    assert [twin.index for twin in statistics.duplicates[1].images] == [2, 3]
    assert statistics.repeated_names == []  # numbered per class
    assert peak < 80 << 20


def test_the_duplicates_of_cifar100() -> None:
    root = Path(os.environ.get("TRACKSIDE_HOME", "home")) / "datasets"
    if not (root / "cifar100" / "dataset.json").exists():
        pytest.skip("CIFAR-100 is not in the home")
    statistics, _ = measure(root, "cifar100")
    assert [len(statistics.groups(where)) for where in PLACES] == [14, 2, 10]
    assert all(len(group.images) == 2 for group in statistics.duplicates)
    assert [(item.split, item.file) for item in statistics.repeated_names] == [
        ("train", "baby_s_000333.png"), ("test", "baby_s_000223.png"),
    ]  # fmt: skip
