from __future__ import annotations

import io
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from app.datasets.datasets import Datasets
from app.errors import ApiError
from tests.trainer.data.own_validation import make_own_validation, make_uneven
from trainer.data.errors import DatasetMissing
from trainer.data.format import Split, labels_file, open_split


def test_images_are_read_without_the_labels(tmp_path: Path) -> None:
    make_own_validation(tmp_path)
    datasets = Datasets(tmp_path)
    splits: tuple[Split, ...] = ("train", "val")
    stored = {split: open_split(tmp_path, "own", split)[0][3].copy() for split in splits}
    for split, image in stored.items():
        (tmp_path / "own" / labels_file(split)).unlink()
        shown = Image.open(io.BytesIO(datasets.image_png("own", split, 3)))
        np.testing.assert_array_equal(np.asarray(shown), image)


def test_a_split_that_a_dataset_does_not_have_is_not_found(tmp_path: Path) -> None:
    make_uneven(tmp_path)
    for split in ("val", "validation"):
        with pytest.raises(ApiError) as caught:
            Datasets(tmp_path).image_png("uneven", split, 0)
        assert caught.value.status == 404


def test_a_dataset_that_was_deleted_or_replaced_is_noticed(tmp_path: Path) -> None:
    make_uneven(tmp_path, (9, 9))
    datasets = Datasets(tmp_path)
    assert datasets.image_png("uneven", "train", 17)
    shutil.rmtree(tmp_path / "uneven")
    with pytest.raises(DatasetMissing):
        datasets.image_png("uneven", "train", 0)
    make_uneven(tmp_path, (3, 3))
    assert datasets.image_png("uneven", "train", 5)
    with pytest.raises(ApiError):
        datasets.image_png("uneven", "train", 17)
