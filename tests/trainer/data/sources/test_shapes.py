from pathlib import Path

import numpy as np
import pytest

from trainer.data.errors import BadOption
from trainer.data.format import open_split, read_files
from trainer.data.sources.outlines import SHAPES, TEXTURES, distance_tables
from trainer.data.sources.shapes import CLASSES, FINE_TO_COARSE, draw, make_shapes100
from trainer.data.sources.source import add_dataset


def test_it_has_the_structure_of_cifar100(tmp_path: Path) -> None:
    record = make_shapes100(tmp_path, train_per_class=3, test_per_class=2)
    assert (record.name, record.size, len(record.classes)) == ("shapes100", 32, 100)
    assert record.superclasses == sorted(SHAPES)
    assert record.fine_to_coarse is not None
    assert all(record.fine_to_coarse.count(coarse) == 5 for coarse in range(20))
    assert record.classes == sorted(record.classes)
    assert "striped star" in record.classes
    images, labels = open_split(tmp_path, "shapes100", "train")
    assert images.shape == (300, 32, 32, 3)
    assert np.bincount(labels).tolist() == [3] * 100
    names = read_files(tmp_path, "shapes100", "train")
    assert [name.split("/")[1] for name in names] == [record.classes[label] for label in labels]


def test_the_bytes_depend_on_the_seed_alone(tmp_path: Path) -> None:
    one = make_shapes100(tmp_path, "a", train_per_class=12, test_per_class=2, processes=1)
    two = make_shapes100(tmp_path, "b", train_per_class=12, test_per_class=2, processes=2)
    other = make_shapes100(tmp_path, "c", train_per_class=12, test_per_class=2, seed=1)
    assert one.sha256 == two.sha256
    assert one.sha256["train.images.npy"] != other.sha256["train.images.npy"]
    assert one.mean == pytest.approx((0.5, 0.5, 0.5), abs=0.05)


def test_no_image_comes_twice_nor_in_both_splits(tmp_path: Path) -> None:
    make_shapes100(tmp_path, train_per_class=6, test_per_class=6)
    rows = [image.tobytes() for split in ("train", "test") for image in open_split(tmp_path, "shapes100", split)[0]]
    assert len(set(rows)) == 1200


def test_classes_differ_where_all_else_is_equal() -> None:
    """The same random numbers under different labels draw different images."""
    drawn = {draw(np.array([label]), np.random.default_rng(4)).tobytes() for label in range(100)}
    assert len(drawn) == 100


def test_every_outline_fits_its_table_and_differs_from_the_others() -> None:
    tables = distance_tables()
    assert tables.shape == (20, 128, 128)
    filled = tables > 0
    assert not filled[:, [0, -1]].any()
    assert not filled[:, :, [0, -1]].any()
    assert (filled.mean((1, 2)) > 0.08).all()
    for first in range(20):
        for second in range(first):
            assert (filled[first] != filled[second]).mean() > 0.03, (SHAPES[first], SHAPES[second])


def test_names_and_map_agree() -> None:
    assert {name.split()[0] for name in CLASSES} == set(TEXTURES)
    assert [SHAPES[coarse] for coarse in FINE_TO_COARSE] == [name.split()[1] for name in CLASSES]


def test_it_is_a_source_with_one_size(tmp_path: Path) -> None:
    with pytest.raises(BadOption, match="32"):
        add_dataset(tmp_path, "shapes", "shapes100", size=64)
