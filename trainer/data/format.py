"""The format of a dataset on disk, the same for all sources.

<root>/<name>/{split}.images.npy   uint8, N×H×W×3, memory-mapped
              {split}.labels.npy   int64, N: the fine class
              {split}.files.txt    N lines: each image's original relative path
              skipped.json         if images were skipped: [[path, reason], …]
              dataset.json         DatasetRecord, written last

The splits are train and test, and val in a dataset with validation images of its own; without them a run holds out a
share of train (trainer/data/splits.py).
"""

import json
import logging
import re
from collections.abc import Iterable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field, ValidationError, WithJsonSchema

from trainer.data.errors import BadName, DatasetDamaged, DatasetMissing
from trainer.system.hashing import file_sha256

Split = Literal["train", "test", "val"]
Fit = Literal["crop", "pad", "squash"]
SPLITS: tuple[Split, ...] = get_args(Split)
SPLIT_NAMES: dict[str, Split] = {  # in folders and manifests
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("test", "testing"), "test"),
    **dict.fromkeys(("val", "valid", "validation", "dev"), "val"),
}
FITS: tuple[Fit, ...] = get_args(Fit)
SMALLEST_SIZE, LARGEST_SIZE = 16, 512  # px of a side
USUAL_SIZES = (32, 48, 64, 96, 128, 160, 224, 384, 512)

Images = npt.NDArray[np.uint8]
Labels = npt.NDArray[np.int64]

RECORD_FILE = "dataset.json"
SKIPPED_FILE = "skipped.json"
_NAME = re.compile(r"([A-Za-z0-9][A-Za-z0-9._-]{0,63})(?:@([1-9][0-9]{0,5}))?")

log = logging.getLogger(__name__)


# Described without prefixItems, which not every reader of OpenAPI documents supports.
Channels = Annotated[
    tuple[float, float, float],
    WithJsonSchema({"type": "array", "items": {"type": "number"}, "minItems": 3, "maxItems": 3}),
]


def rows_within(size_bytes: int, side: int) -> int:
    """The number of images of `side` × `side` pixels that take `size_bytes`, at least one."""
    return max(1, size_bytes // (3 * side**2))


class DatasetRecord(BaseModel):
    """Contents of dataset.json. `mean` and `std` are per channel of the training images, on a scale of 0 to 1."""

    model_config = ConfigDict(frozen=True)

    name: str
    classes: list[str] = Field(min_length=2)
    superclasses: list[str] | None = None
    fine_to_coarse: list[int] | None = None
    size: int
    fit: Fit
    mean: Channels
    std: Channels
    train_count: int
    test_count: int
    val_count: int = Field(0, description="Own validation images; 0 if runs hold out a share of the training images.")
    test_drawn: bool = Field(False, description="The import drew the test images from the training images.")
    source: str
    groups: int | None = Field(
        None, description="Groups, such as patients, whose images are in one split; null if images are independent."
    )
    shared_groups: int = Field(0, description="Groups with training images, and with test or validation images too.")
    manifest: str = Field("", description="The file that named the classes, empty if folders did.")
    deep: int = Field(0, description="Images of 16 bits per channel, scaled by the range of their type.")
    deep_peak: float = Field(0.0, description="The largest value in these images as a share of that range.")
    skipped: int = 0
    other_files: dict[str, int] = Field(
        default={}, description="Files of the source that are no images by their names, counted by ending."
    )
    sha256: dict[str, str]
    created_at: datetime

    def target_names(self, target: str) -> list[str]:
        """The classes that a run with this `target` predicts: superclasses if "coarse" and there are any."""
        return self.superclasses if target == "coarse" and self.superclasses is not None else self.classes

    def target_labels(self, target: str, labels: Labels) -> Labels:
        """Convert class labels (N, int64) to labels of the classes that a run with this `target` predicts."""
        if target == "coarse" and self.fine_to_coarse is not None:
            return np.asarray(self.fine_to_coarse, dtype=np.int64)[labels]
        return labels

    def count(self, split: Split) -> int:
        return {"train": self.train_count, "test": self.test_count, "val": self.val_count}[split]

    @property
    def splits(self) -> tuple[Split, ...]:
        """The splits that the dataset has."""
        return tuple(split for split in SPLITS if split != "val" or self.val_count)

    @property
    def validation_split(self) -> Split:
        """The split whose arrays hold the images that runs are validated on."""
        return "val" if self.val_count else "train"


def read_record(root: Path, name: str) -> DatasetRecord:
    """Read a record; its name is the folder's. Raises DatasetMissing, also for an invalid name, and DatasetDamaged."""
    if not _NAME.fullmatch(name):
        raise DatasetMissing(f"There is no dataset called {name!r}.")
    try:
        text = (root / name / RECORD_FILE).read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        raise DatasetMissing(f"There is no dataset called {name!r}.") from None
    try:
        record = DatasetRecord.model_validate_json(text)
        return record if record.name == name else record.model_copy(update={"name": name})
    except ValidationError as error:
        raise DatasetDamaged(f"{name}/{RECORD_FILE} cannot be read.", detail=str(error)) from None


def list_records(root: Path) -> list[DatasetRecord]:
    """All datasets under `root`, sorted by name. Damaged records are skipped and logged."""
    records = []
    for path in sorted(root.glob(f"*/{RECORD_FILE}")):
        try:
            records.append(read_record(root, path.parent.name))
        except DatasetMissing:
            continue  # a hidden or incomplete folder, or one that is not a dataset
        except DatasetDamaged as error:
            log.warning("%s", error.message)
    return records


def open_split(root: Path, name: str, split: Split) -> tuple[Images, Labels]:
    """Open the images as a read-only memory map (uint8 N×H×W×3) and the labels (int64 N).

    Raises DatasetMissing; DatasetDamaged: the arrays do not match the record.
    """
    record = read_record(root, name)
    return open_images(root / name, record, split), _labels(root / name, record, split)


def open_images(folder: Path, record: DatasetRecord, split: Split) -> Images:
    """Open the images of a dataset's folder as a read-only memory map. Raises DatasetDamaged."""
    images = _load(folder / images_file(split), mapped=True)
    expected = (record.count(split), record.size, record.size, 3)
    if images.dtype != np.uint8 or images.shape != expected:
        raise DatasetDamaged(f"{folder.name}/{images_file(split)} is {images.dtype} {images.shape}, not {expected}.")
    return images


def read_labels(root: Path, name: str, split: Split) -> Labels:
    """The class of each image (int64 N). Raises DatasetMissing; DatasetDamaged: they do not match the record."""
    return _labels(root / name, read_record(root, name), split)


def _labels(folder: Path, record: DatasetRecord, split: Split) -> Labels:
    name, count = folder.name, record.count(split)
    labels = _load(folder / labels_file(split), mapped=False)
    if labels.dtype != np.int64 or labels.shape != (count,):
        raise DatasetDamaged(f"{name}/{labels_file(split)} is {labels.dtype} {labels.shape}, not ({count},).")
    if count and not 0 <= labels.min() <= labels.max() < len(record.classes):
        raise DatasetDamaged(f"{name}/{labels_file(split)} holds classes that dataset.json does not name.")
    return labels


def read_files(root: Path, name: str, split: Split) -> list[str]:
    """Each image's original relative path, in the order of the arrays. Raises DatasetMissing, DatasetDamaged."""
    record = read_record(root, name)
    try:
        lines = (root / name / files_file(split)).read_text("utf-8").split("\n")[:-1]
    except (OSError, UnicodeDecodeError) as error:
        raise DatasetDamaged(f"{name}/{files_file(split)} cannot be read: {error}.") from None
    if len(lines) != record.count(split):
        raise DatasetDamaged(f"{name}/{files_file(split)} has {len(lines)} lines, not {record.count(split)}.")
    return lines


def read_files_of(root: Path, name: str, split: Split, rows: Iterable[int]) -> list[str]:
    """The original relative paths of some images, of however many. Raises what `read_files` raises."""
    record = read_record(root, name)
    try:
        content = (root / name / files_file(split)).read_bytes()
        ends = np.flatnonzero(np.frombuffer(content, np.uint8) == ord("\n"))
        found = [content[ends[row - 1] + 1 if row else 0 : ends[row]].decode() for row in rows]
    except (OSError, IndexError, UnicodeDecodeError) as error:
        raise DatasetDamaged(f"{name}/{files_file(split)} cannot be read: {error}.") from None
    if len(ends) != record.count(split):
        raise DatasetDamaged(f"{name}/{files_file(split)} has {len(ends)} lines, not {record.count(split)}.")
    return found


def read_skipped(root: Path, name: str) -> list[tuple[str, str]]:
    """Path and reason of each image that the import skipped."""
    if not read_record(root, name).skipped:
        return []
    return [(path, reason) for path, reason in json.loads((root / name / SKIPPED_FILE).read_text("utf-8"))]


def damaged_files(root: Path, record: DatasetRecord) -> list[str]:
    """Names of the files that are missing, or whose hash differs from the record's."""
    folder = root / record.name
    return [
        name
        for name, digest in record.sha256.items()
        if not (folder / name).is_file() or file_sha256(folder / name) != digest
    ]


def check_name(name: str) -> str:
    if not _NAME.fullmatch(name):
        raise BadName(
            "A dataset's name is 1 to 64 letters, digits, dots, dashes and underscores, "
            "and starts with a letter or a digit.",
            detail={"name": name[:100]},
        )
    return name


def free_name(root: Path, name: str) -> str:
    """The name itself if it is free, else the first free one of name@2, name@3, …"""
    match = _NAME.fullmatch(check_name(name))
    assert match is not None
    base, number = match[1], int(match[2] or 1)
    while (root / name).exists():
        number += 1
        name = f"{base}@{number}"
    return name


def earlier_names(name: str) -> Iterator[str]:
    """The names of the versions before `name`, the latest first: birds@2 and birds for birds@3."""
    match = _NAME.fullmatch(name)
    if match is not None and match[2] is not None:
        for number in range(int(match[2]) - 1, 0, -1):
            yield match[1] if number == 1 else f"{match[1]}@{number}"


def images_file(split: Split) -> str:
    return f"{split}.images.npy"


def labels_file(split: Split) -> str:
    return f"{split}.labels.npy"


def files_file(split: Split) -> str:
    return f"{split}.files.txt"


def _load(path: Path, *, mapped: bool) -> npt.NDArray[Any]:
    try:
        array: npt.NDArray[Any] = np.load(path, mmap_mode="r" if mapped else None, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise DatasetDamaged(f"{path.parent.name}/{path.name} cannot be read: {error}.") from None
    return array
