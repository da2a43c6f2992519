import hashlib
import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from tests.trainer.data.own_validation import make_own_validation
from tests.trainer.data.test_format import make
from trainer.data.errors import BadName, DiskFull
from trainer.data.format import list_records, open_split, read_files, read_record, read_skipped
from trainer.data.statistics import channel_statistics
from trainer.data.writer import DatasetWriter, sweep_abandoned


def test_statistics_are_those_of_all_pixels_in_float64() -> None:
    images = np.random.default_rng(1).integers(0, 256, (5000, 4, 4, 3), np.uint8)
    mean, std = channel_statistics(images)
    scaled = images.astype(np.float64) / 255
    assert mean == pytest.approx(scaled.mean((0, 1, 2)), abs=1e-12)
    assert std == pytest.approx(scaled.std((0, 1, 2)), abs=1e-12)


def test_a_constant_channel_has_no_deviation() -> None:
    assert channel_statistics(np.full((3, 2, 2, 3), 51, np.uint8)) == ((0.2, 0.2, 0.2), (0, 0, 0))


def test_the_record_holds_the_hash_of_every_array(tmp_path: Path) -> None:
    make(tmp_path)
    record = read_record(tmp_path, "two")
    assert record.sha256 == {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in tmp_path.glob("two/*.npy")
    }
    assert len(record.sha256) == 4


def test_a_dataset_may_have_a_validation_split_of_its_own(tmp_path: Path) -> None:
    made = make_own_validation(tmp_path)
    record = read_record(tmp_path, "own")
    assert record == made
    assert (record.splits, record.validation_split) == (("train", "test", "val"), "val")
    assert (record.train_count, record.val_count, record.test_count) == (32, 10, 9)
    assert {"val.images.npy", "val.labels.npy"} < record.sha256.keys()
    images, labels = open_split(tmp_path, "own", "val")
    assert (len(images), labels.tolist()) == (10, [0] * 6 + [1] * 4)
    assert read_files(tmp_path, "own", "val")[7] == "val/1/7.png"


def test_a_record_of_an_earlier_version_has_no_validation_split(tmp_path: Path) -> None:
    make(tmp_path)
    path = tmp_path / "two" / "dataset.json"
    written = json.loads(path.read_text())
    for field in ("val_count", "test_drawn"):
        del written[field]
    path.write_text(json.dumps(written))
    record = read_record(tmp_path, "two")
    assert (record.val_count, record.splits, record.validation_split) == (0, ("train", "test"), "train")
    assert not list(tmp_path.glob("two/val.*"))


def test_a_writer_left_early_leaves_nothing(tmp_path: Path) -> None:
    with DatasetWriter(tmp_path, "two", size=32) as writer:
        writer.create_images("train", 10)
    assert list(tmp_path.iterdir()) == []


def test_nothing_is_listed_before_it_is_whole(tmp_path: Path) -> None:
    with DatasetWriter(tmp_path, "two", size=32) as writer:
        for split in ("train", "test"):
            writer.create_images(split, 2)[:] = 7
            writer.set_labels(split, [0, 1], ["a", "b"])
        assert list_records(tmp_path) == []
        writer.commit(classes=["a", "b"], source="test")
    assert [record.name for record in list_records(tmp_path)] == ["two"]
    assert [path.name for path in tmp_path.iterdir()] == ["two"]


def test_rows_can_be_dropped_and_moved_to_another_split(tmp_path: Path) -> None:
    with DatasetWriter(tmp_path, "two", size=32) as writer:
        writer.create_images("train", 5000)[:] = (np.arange(5000) % 251).astype(np.uint8)[:, None, None, None]
        writer.create_images("test", 4)[:] = np.array([252, 253, 254, 255], np.uint8)[:, None, None, None]
        rows = np.array([0, 2, *range(4, 5000), 5001])
        writer.rearrange_images({"train": rows, "test": np.array([3, 5003])})
        writer.set_labels("train", [0] * len(rows), ["a"] * len(rows))
        writer.set_labels("test", [0, 1], ["b", "c"])
        record = writer.commit(classes=["a", "b"], source="test", skipped=[("b", "broken")])
    images, _ = open_split(tmp_path, "two", "train")
    assert images[:, 31, 31, 2].tolist() == [0, 2, *(row % 251 for row in range(4, 5000)), 253]
    assert open_split(tmp_path, "two", "test")[0][:, 0, 0, 0].tolist() == [3, 255]
    assert record.skipped == 1
    assert read_skipped(tmp_path, "two") == [("b", "broken")]
    assert sorted(path.suffix for path in (tmp_path / "two").iterdir()) == sorted(
        [".npy"] * 4 + [".txt"] * 2 + [".json"] * 2
    )


def test_writers_at_the_same_time_get_names_of_their_own(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: make(tmp_path), range(8)))
    names = [record.name for record in list_records(tmp_path)]
    assert sorted(names) == sorted(["two", *(f"two@{number}" for number in range(2, 9))])
    assert {path.name for path in tmp_path.iterdir()} == set(names)


def write_to_a_full_disk(root: Path) -> None:
    """The kernel's own device that is always full stands in for one of the array files."""
    with DatasetWriter(root, "two", size=32) as writer:
        (writer.folder / "train.labels.npy").symlink_to("/dev/full")
        writer.set_labels("train", [0] * 100_000, ["a"] * 100_000)


def test_a_full_disk_is_named(tmp_path: Path) -> None:
    with pytest.raises(DiskFull):
        write_to_a_full_disk(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_only_abandoned_folders_are_swept(tmp_path: Path) -> None:
    abandoned = tmp_path / ".tmp-0123"
    abandoned.mkdir()
    (abandoned / "train.images.npy").write_bytes(b"half")
    with DatasetWriter(tmp_path, "two", size=32) as writer:
        assert not abandoned.exists()
        sweep_abandoned(tmp_path)
        assert writer.folder.exists()


def test_a_bad_name_is_refused_before_anything_is_made(tmp_path: Path) -> None:
    with pytest.raises(BadName):
        DatasetWriter(tmp_path / "datasets", "../two", size=32)
    assert list(tmp_path.iterdir()) == []


def test_writing_leaks_no_descriptor(tmp_path: Path) -> None:
    make(tmp_path)
    before = len(list(Path("/proc/self/fd").iterdir()))
    for _ in range(5):
        make(tmp_path)
    assert len(list(Path("/proc/self/fd").iterdir())) == before
