import json
from pathlib import Path

import numpy as np
import pytest

from trainer.data.errors import BadName, DatasetDamaged, DatasetMissing
from trainer.data.format import (
    check_name,
    damaged_files,
    free_name,
    list_records,
    open_split,
    read_files,
    read_record,
)
from trainer.data.writer import write_dataset


def make(root: Path, name: str = "two") -> None:
    rng = np.random.default_rng(0)
    write_dataset(
        root,
        name,
        arrays={
            "train": (rng.integers(0, 256, (4, 32, 32, 3), np.uint8), [0, 0, 1, 1], ["a", "b", "ü c", "d"]),
            "test": (rng.integers(0, 256, (2, 32, 32, 3), np.uint8), [0, 1], ["e", "f"]),
        },
        classes=["cat", "dog"],
        source="test",
    )


def test_what_is_written_is_read(tmp_path: Path) -> None:
    make(tmp_path)
    record = read_record(tmp_path, "two")
    assert (record.classes, record.size, record.train_count, record.test_count) == (["cat", "dog"], 32, 4, 2)
    images, labels = open_split(tmp_path, "two", "train")
    assert np.array_equal(images, np.random.default_rng(0).integers(0, 256, (4, 32, 32, 3), np.uint8))
    assert labels.dtype == np.int64
    assert labels.tolist() == [0, 0, 1, 1]
    assert read_files(tmp_path, "two", "train") == ["a", "b", "ü c", "d"]
    assert list_records(tmp_path) == [record]


def test_images_are_mapped_and_cannot_be_written(tmp_path: Path) -> None:
    make(tmp_path)
    images, _ = open_split(tmp_path, "two", "test")
    assert isinstance(images, np.memmap)
    with pytest.raises(ValueError, match="read-only"):
        images[0] = 0


@pytest.mark.parametrize("name", ["nothing", "../two", "", "two/../two", ".tmp-1", "two\n", "a\0b"])
def test_an_unknown_name_is_missing_and_never_a_path(tmp_path: Path, name: str) -> None:
    make(tmp_path)
    with pytest.raises(DatasetMissing):
        read_record(tmp_path, name)


def test_a_folder_without_its_record_does_not_exist(tmp_path: Path) -> None:
    make(tmp_path)
    (tmp_path / "two" / "dataset.json").unlink()
    with pytest.raises(DatasetMissing):
        read_record(tmp_path, "two")
    assert list_records(tmp_path) == []
    assert free_name(tmp_path, "two") == "two@2"


def test_a_damaged_record_is_named_and_hides_no_other(tmp_path: Path) -> None:
    make(tmp_path)
    make(tmp_path, "three")
    (tmp_path / "two" / "dataset.json").write_text('{"name": "two"')
    with pytest.raises(DatasetDamaged):
        read_record(tmp_path, "two")
    assert [record.name for record in list_records(tmp_path)] == ["three"]


def test_arrays_that_disagree_with_the_record_are_refused(tmp_path: Path) -> None:
    make(tmp_path)
    path = tmp_path / "two" / "dataset.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"train_count": 5}))
    with pytest.raises(DatasetDamaged, match=r"train\.images\.npy"):
        open_split(tmp_path, "two", "train")
    with pytest.raises(DatasetDamaged, match=r"train\.files\.txt"):
        read_files(tmp_path, "two", "train")
    np.save(tmp_path / "two" / "test.labels.npy", np.array([0, 2]))
    with pytest.raises(DatasetDamaged, match=r"test\.labels\.npy"):
        open_split(tmp_path, "two", "test")


def test_labels_are_never_unpickled(tmp_path: Path) -> None:
    make(tmp_path)
    np.save(tmp_path / "two" / "test.labels.npy", np.array([object()], dtype=object), allow_pickle=True)
    with pytest.raises(DatasetDamaged):
        open_split(tmp_path, "two", "test")


def test_a_flipped_byte_is_found(tmp_path: Path) -> None:
    make(tmp_path)
    record = read_record(tmp_path, "two")
    assert damaged_files(tmp_path, record) == []
    path = tmp_path / "two" / "test.images.npy"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    assert damaged_files(tmp_path, record) == ["test.images.npy"]


@pytest.mark.parametrize("name", ["a", "CIFAR-100", "my_set.v2", "a" * 64, "two@2", "9"])
def test_good_names(name: str) -> None:
    assert check_name(name) == name


@pytest.mark.parametrize(
    "name", ["", ".hidden", "-a", "a/b", "..", "a" * 65, "a b", "a@", "a@0", "a@1@2", "a\n", "é", "a\0"]
)
def test_bad_names(name: str) -> None:
    with pytest.raises(BadName):
        check_name(name)


def test_a_taken_name_counts_up(tmp_path: Path) -> None:
    assert free_name(tmp_path, "two") == "two"
    for taken in ("two", "two@2", "two@3"):
        (tmp_path / taken).mkdir()
    assert free_name(tmp_path, "two") == "two@4"
    assert free_name(tmp_path, "two@2") == "two@4"
