"""A dataset that was written as mosaics and read again is the same to the bit."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from tests.gpu.mosaics import MosaicsDamaged, part_file, read_mosaics, write_mosaics
from trainer.data.format import read_record
from trainer.data.sources.shapes import make_shapes100


@pytest.fixture
def datasets(tmp_path: Path) -> Path:
    """201 images: the last row of the second mosaic is not full."""
    make_shapes100(tmp_path, train_per_class=2, test_per_class=1)
    return tmp_path


def test_a_dataset_survives_as_mosaics(datasets: Path, tmp_path: Path) -> None:
    carried = tmp_path / "carried"
    assert write_mosaics(datasets, "shapes100", carried) == sum(path.stat().st_size for path in carried.iterdir())
    before, after = read_record(datasets, "shapes100"), read_mosaics(carried, datasets, "again")
    assert after.sha256 == before.sha256
    assert after.name == "again"
    kept = {"name", "created_at"}
    assert after.model_dump(exclude=kept) == before.model_dump(exclude=kept)


def test_a_changed_pixel_is_noticed(datasets: Path, tmp_path: Path) -> None:
    carried = tmp_path / "carried"
    write_mosaics(datasets, "shapes100", carried)
    with Image.open(part_file(carried, 0)) as picture:
        changed = picture.convert("RGB")
    changed.putpixel((5, 5), (1, 2, 3))
    changed.save(part_file(carried, 0), "WEBP", lossless=True)
    with pytest.raises(MosaicsDamaged):
        read_mosaics(carried, datasets, "again")
    assert not (datasets / "again").exists()
