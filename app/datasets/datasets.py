"""Read datasets for pages and API requests: records, labels and single images."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from app.errors import not_found
from trainer.data.errors import DatasetError
from trainer.data.format import SPLITS, DatasetRecord, Split, list_records, open_split, read_files, read_record


class Datasets:
    def __init__(self, root: Path) -> None:
        self.root = root

    def list(self) -> list[DatasetRecord]:
        return list_records(self.root)

    def get(self, name: str) -> DatasetRecord:
        return read_record(self.root, name)

    def find(self, name: str) -> DatasetRecord | None:
        """Return the record, or None if the dataset was removed: its runs can still be viewed."""
        try:
            return read_record(self.root, name)
        except DatasetError:
            return None

    def labels(self, name: str, split: str) -> npt.NDArray[np.int64]:
        """Return the labels (n,). Raises ApiError 404 for an unknown split."""
        return open_split(self.root, name, checked_split(split))[1]

    def files(self, name: str, split: str) -> tuple[str, ...]:
        return tuple(read_files(self.root, name, checked_split(split)))

    def image_png(self, name: str, split: str, index: int) -> bytes:
        """Encode one image as PNG. Raises ApiError 404 for an unknown split or index."""
        images, _ = open_split(self.root, name, checked_split(split))
        if not 0 <= index < len(images):
            raise not_found("image", str(index))
        buffer = io.BytesIO()
        Image.fromarray(images[index]).save(buffer, "PNG", compress_level=1)
        return buffer.getvalue()


def checked_split(split: str) -> Split:
    """Return `split` as its literal type. Raises ApiError 404 if it is unknown."""
    if split not in SPLITS:
        raise not_found("split", split)
    return split
