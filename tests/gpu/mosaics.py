"""A dataset as lossless WebP mosaics, to be carried to another machine: `python -m tests.gpu.mosaics --help`.

<folder>/mosaics.json   the dataset's record, the label of each image, and the images per row of a mosaic
         part-<n>.webp  images from left to right and top to bottom, the training images first

The names of the original files are not kept.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image
from pydantic import BaseModel

from app.settings import Settings
from trainer.data.format import DatasetRecord, Images, Split, open_split, read_record
from trainer.data.sources.source import add_dataset
from trainer.data.writer import write_dataset

PARTS = 2
CIFAR, CIFAR_SIZE = "cifar100", 32
COLUMNS = 200  # a WebP file has at most 16,383 pixels per side
INDEX = "mosaics.json"


class MosaicsDamaged(Exception):
    """The mosaics do not hold the images and labels that were written."""


class Index(BaseModel):
    record: DatasetRecord
    labels: dict[Split, list[int]]
    columns: int = COLUMNS
    parts: int = PARTS


def write_mosaics(datasets: Path, name: str, folder: Path) -> int:
    """Write a dataset, and return the number of bytes."""
    folder.mkdir(parents=True, exist_ok=True)
    record = read_record(datasets, name)
    splits = {split: open_split(datasets, name, split) for split in record.splits}
    index = Index(record=record, labels={split: labels.tolist() for split, (_, labels) in splits.items()})
    images = np.concatenate([pixels for pixels, _ in splits.values()])
    for number, part in enumerate(np.array_split(images, PARTS)):
        Image.fromarray(mosaic_of(part)).save(part_file(folder, number), "WEBP", lossless=True, quality=50, method=4)
    (folder / INDEX).write_text(index.model_dump_json())
    return sum(path.stat().st_size for path in (folder / INDEX, *(part_file(folder, n) for n in range(PARTS))))


def read_mosaics(folder: Path, datasets: Path, name: str) -> DatasetRecord:
    """Rebuild the dataset as `name`. Raises MosaicsDamaged and OSError."""
    index = Index.model_validate_json((folder / INDEX).read_bytes())
    before, total = index.record, sum(map(len, index.labels.values()))
    rows = [len(part) for part in np.array_split(np.arange(total), index.parts)]
    parts = [
        images_of(part_file(folder, number), count, before.size, index.columns) for number, count in enumerate(rows)
    ]
    images, arrays, first = np.concatenate(parts), {}, 0
    for split, labels in index.labels.items():
        files = [f"{split}/{before.classes[label]}/{row:05d}" for row, label in enumerate(labels)]
        arrays[split] = images[first : first + len(labels)], labels, files
        first += len(labels)
    record = write_dataset(
        datasets,
        name,
        arrays=arrays,
        classes=before.classes,
        superclasses=before.superclasses,
        fine_to_coarse=before.fine_to_coarse,
        fit=before.fit,
        source=before.source,
    )
    if record.sha256 != before.sha256:
        shutil.rmtree(datasets / record.name)
        raise MosaicsDamaged(f"The images in {folder} are not those of the dataset that was written.")
    return record


def mosaic_of(images: Images, columns: int = COLUMNS) -> Images:
    """Return uint8 N×S×S×3 as one picture, uint8 (rows · S)×(columns · S)×3; what is left of the last row is black."""
    size, rows = images.shape[1], -(-len(images) // columns)
    cells = np.zeros((rows * columns, size, size, 3), np.uint8)
    cells[: len(images)] = images
    grid = cells.reshape(rows, columns, size, size, 3).transpose(0, 2, 1, 3, 4)
    return grid.reshape(rows * size, columns * size, 3)


def images_of(path: Path, count: int, size: int, columns: int) -> Images:
    """Return the first `count` images of a mosaic, uint8 N×S×S×3."""
    with Image.open(path) as picture:
        pixels = np.asarray(picture.convert("RGB"))
    rows = -(-count // columns)
    if pixels.shape != (rows * size, columns * size, 3):
        raise MosaicsDamaged(f"{path} has {pixels.shape[1]}×{pixels.shape[0]} pixels.")
    grid = pixels.reshape(rows, size, columns, size, 3).transpose(0, 2, 1, 3, 4)
    return grid.reshape(rows * columns, size, size, 3)[:count]


def part_file(folder: Path, number: int) -> Path:
    return folder / f"part-{number + 1}.webp"


def main() -> None:
    made = argparse.ArgumentParser(prog="python -m tests.gpu.mosaics", description="Write CIFAR-100 as mosaics.")
    made.add_argument(
        "--from",
        dest="source",
        default=CIFAR,
        help="a dataset of the home, or a folder or zip of CIFAR-100's PNG files (default: %(default)s)",
    )
    made.add_argument("--to", type=Path, required=True, help="the folder to write to")
    options = made.parse_args()
    datasets = Settings().datasets
    if (datasets / options.source / "dataset.json").exists():
        size = write_mosaics(datasets, options.source, options.to)
    else:
        with tempfile.TemporaryDirectory() as folder:
            record = add_dataset(Path(folder), CIFAR, options.source, size=CIFAR_SIZE)
            size = write_mosaics(Path(folder), record.name, options.to)
    print(f"{options.to}: {size / 2**20:.1f} MiB")


if __name__ == "__main__":
    main()
