"""Read datasets for pages and API requests: records, labels and single images."""

from __future__ import annotations

import io
from collections.abc import Iterable, Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from app.errors import not_found
from trainer.data.errors import DatasetError, DatasetMissing
from trainer.data.format import (
    RECORD_FILE,
    DatasetRecord,
    Split,
    list_records,
    open_images,
    read_files,
    read_files_of,
    read_labels,
    read_record,
)
from trainer.spec.dataset_spec import DatasetSpec


class Datasets:
    def __init__(self, root: Path) -> None:
        self.root = root

    def list(self) -> list[DatasetRecord]:
        return list_records(self.root)

    def get(self, name: str) -> DatasetRecord:
        return read_record(self.root, name)

    def find(self, name: str) -> DatasetRecord | None:
        """Return the record, or None if there is no such dataset."""
        try:
            return read_record(self.root, name)
        except DatasetError:
            return None

    def trained_on(self, spec: DatasetSpec) -> DatasetRecord:
        """Return the dataset of a run's spec. Raises DatasetMissing: it was deleted, or replaced by other images."""
        record = self.get(spec.name)
        if spec.sha256 and spec.sha256 != record.sha256:
            raise DatasetMissing(f"The dataset {spec.name!r} has been replaced since the run was queued.")
        return record

    def found_for(self, spec: DatasetSpec) -> DatasetRecord | None:
        """Return the dataset of a run's spec, or None if it was deleted or replaced: its runs can still be viewed."""
        try:
            return self.trained_on(spec)
        except DatasetError:
            return None

    def labels(self, name: str, split: str) -> npt.NDArray[np.int64]:
        """Return the labels (n,). Raises ApiError 404 for a split that the dataset does not have."""
        return read_labels(self.root, name, checked_split(self.get(name), split))

    def files(self, name: str, split: str) -> tuple[str, ...]:
        return tuple(read_files(self.root, name, checked_split(self.get(name), split)))

    def files_of(self, name: str, split: str, rows: Iterable[int]) -> Sequence[str]:
        """The file names of some images of a split."""
        return read_files_of(self.root, name, checked_split(self.get(name), split), rows)

    def image_png(self, name: str, split: str, index: int, side: int | None = None) -> bytes:
        """Encode one image as PNG, reduced to `side` pixels if it is larger.

        Raises ApiError 404 for an index or a split that the dataset does not have.
        """
        record = self._parsed(name)
        images = open_images(self.root / name, record, checked_split(record, split))
        if not 0 <= index < len(images):
            raise not_found("image", str(index))
        buffer = io.BytesIO()
        image = Image.fromarray(images[index])
        if side is not None and side < record.size:
            image = image.resize((side, side), Image.Resampling.BICUBIC)
        image.save(buffer, "PNG", compress_level=1)
        return buffer.getvalue()

    def _parsed(self, name: str) -> DatasetRecord:
        """As `get`, but parsed once per version of the file: a page has a hundred images. Raises DatasetError."""
        try:
            found = (self.root / name / RECORD_FILE).stat()
        except (OSError, ValueError):
            return self.get(name)
        return _read_once(self.root, name, found.st_ino, found.st_mtime_ns)


@lru_cache(maxsize=16)
def _read_once(root: Path, name: str, inode: int, modified: int) -> DatasetRecord:
    return read_record(root, name)


def checked_split(record: DatasetRecord, split: str) -> Split:
    """Return `split` as its literal type. Raises ApiError 404 if the dataset does not have it."""
    for known in record.splits:
        if split == known:
            return known
    raise not_found("split", split)
