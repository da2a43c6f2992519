"""Builds a dataset in a hidden folder, which is renamed once everything is synced to disk."""

import errno
import json
import os
import secrets
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import Self

import numpy as np
import numpy.typing as npt

from trainer.data.errors import DiskFull
from trainer.data.folds import draw_folds
from trainer.data.format import (
    RECORD_FILE,
    SKIPPED_FILE,
    SPLITS,
    DatasetRecord,
    Fit,
    Images,
    Split,
    check_name,
    files_file,
    free_name,
    images_file,
    labels_file,
    rows_within,
)
from trainer.data.groups import FOLDS_FILE, GROUP_NAMES_FILE, WEIGHTS_FILE, groups_file, shared_groups
from trainer.data.statistics import channel_statistics
from trainer.system.hashing import file_sha256
from trainer.system.locks import lock_descriptor
from trainer.system.progress import Progress, silent

_TEMPORARY = ".tmp-"
_COPY_BYTES = 64 << 20


def write_dataset(
    root: Path,
    name: str,
    *,
    arrays: Mapping[Split, tuple[Images, npt.ArrayLike, Sequence[str]]],
    classes: Sequence[str],
    superclasses: Sequence[str] | None = None,
    fine_to_coarse: Sequence[int] | None = None,
    fit: Fit = "crop",
    source: str,
    progress: Progress = silent,
) -> DatasetRecord:
    """Write arrays that are in memory: per split the images, the labels and the file names. "val" may be left out."""
    size = arrays["train"][0].shape[1]
    with DatasetWriter(root, name, size=size) as writer:
        for split, (images, labels, files) in arrays.items():
            writer.create_images(split, len(images))[:] = images
            writer.set_labels(split, labels, files)
        return writer.commit(
            classes=classes,
            superclasses=superclasses,
            fine_to_coarse=fine_to_coarse,
            fit=fit,
            source=source,
            progress=progress,
        )


class DatasetWriter:
    """A context manager. Without commit(), its folder is deleted at the end."""

    def __init__(self, root: Path, name: str, *, size: int) -> None:
        self.name = check_name(name)
        self.size = size
        self._root = root
        root.mkdir(parents=True, exist_ok=True)
        sweep_abandoned(root)
        self.folder = root / f"{_TEMPORARY}{secrets.token_hex(6)}"
        # The lock is held while the folder is being built, so that other writers know that it is not abandoned. For
        # sweep_abandoned(), which takes the lock of the root too, creating and locking it is one step.
        with _locked(root):
            self.folder.mkdir()
            self._lock = _open_folder(self.folder)
            lock_descriptor(self._lock, wait=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.close(self._lock)
        shutil.rmtree(self.folder, ignore_errors=True)  # does not exist any more after commit()
        if isinstance(error, OSError):
            with full_disk_named():
                raise error

    def create_images(self, split: Split, count: int) -> Images:
        """Create a writable memory map, uint8 count × size × size × 3. Other processes may fill rows of its file."""
        path = self.folder / images_file(split)
        shape = (count, self.size, self.size, 3)
        images = np.lib.format.open_memmap(path, mode="w+", dtype=np.uint8, shape=shape)
        _reserve(path)
        return images

    def set_labels(self, split: Split, labels: npt.ArrayLike, files: Sequence[str]) -> None:
        array = np.asarray(labels, dtype=np.int64)
        if array.shape != (len(files),):
            raise ValueError(f"{len(files)} file names for labels of shape {array.shape}")
        np.save(self.folder / labels_file(split), array)
        (self.folder / files_file(split)).write_text("".join(f"{file}\n" for file in files), "utf-8")

    def set_groups(self, split: Split, groups: npt.ArrayLike) -> None:
        """`groups` (N) are indices into the names that commit() is given."""
        np.save(self.folder / groups_file(split), np.asarray(groups, dtype=np.int64))

    def set_weights(self, weights: npt.ArrayLike) -> None:
        """`weights` (N) are what the training images count in the loss."""
        np.save(self.folder / WEIGHTS_FILE, np.asarray(weights, dtype=np.float32))

    def rearrange_images(self, rows: Mapping[Split, npt.NDArray[np.int64]]) -> None:
        """Fill the splits anew. `rows` count through the images of all splits in the order of `rows`.

        Replaces the memory maps that create_images() returned.
        """
        paths = [self.folder / images_file(split) for split in rows]
        whole = [path.rename(path.with_suffix(".whole")) for path in paths]
        arrays = [np.load(path, mmap_mode="r") for path in whole]
        starts = np.cumsum([0, *map(len, arrays)])
        for split, taken in rows.items():
            images = self.create_images(split, len(taken))
            count = rows_within(_COPY_BYTES, self.size)
            for first in range(0, len(taken), count):
                block = taken[first : first + count]
                for array, start in zip(arrays, starts, strict=False):
                    here = np.flatnonzero((start <= block) & (block < start + len(array)))
                    images[first + here] = array[block[here] - start]
        for path in whole:
            path.unlink()

    def commit(
        self,
        *,
        classes: Sequence[str],
        superclasses: Sequence[str] | None = None,
        fine_to_coarse: Sequence[int] | None = None,
        fit: Fit = "crop",
        source: str,
        test_drawn: bool = False,
        skipped: Sequence[tuple[str, str]] = (),
        other_files: Mapping[str, int] = MappingProxyType({}),
        groups: Sequence[str] | None = None,
        manifest: str = "",
        deep_peaks: Sequence[float] = (),
        progress: Progress = silent,
    ) -> DatasetRecord:
        """Hash and sync the files, compute the statistics, and rename the folder to a free name, such as name@2.

        `groups` are the names of the groups that set_groups() was called with. `deep_peaks` are the largest values of
        the images of 16 bits, as shares of their range.
        """
        splits = [split for split in SPLITS if (self.folder / labels_file(split)).exists()]
        shared = 0 if groups is None else self._finish_groups(splits, groups)
        paths = [self.folder / name(split) for split in splits for name in (images_file, labels_file, groups_file)]
        paths = [path for path in [*paths, self.folder / FOLDS_FILE, self.folder / WEIGHTS_FILE] if path.exists()]
        digests = {}
        for index, path in enumerate(paths):
            progress(index, len(paths) + 1, "hashing")
            digests[path.name] = file_sha256(path)
        progress(len(paths), len(paths) + 1, "measuring")
        counts = {split: len(np.load(self.folder / labels_file(split))) for split in splits}
        mean, std = channel_statistics(np.load(self.folder / images_file("train"), mmap_mode="r"))
        if skipped:
            (self.folder / SKIPPED_FILE).write_text(json.dumps(skipped, ensure_ascii=False), "utf-8")
        for path in self.folder.iterdir():
            sync(path)
        progress(len(paths) + 1, len(paths) + 1, "measuring")
        record = DatasetRecord(
            name=self.name,
            classes=list(classes),
            superclasses=None if superclasses is None else list(superclasses),
            fine_to_coarse=None if fine_to_coarse is None else list(fine_to_coarse),
            size=self.size,
            fit=fit,
            mean=mean,
            std=std,
            train_count=counts["train"],
            test_count=counts["test"],
            val_count=counts.get("val", 0),
            test_drawn=test_drawn,
            source=source,
            deep=len(deep_peaks),
            deep_peak=max(deep_peaks, default=0.0),
            skipped=len(skipped),
            other_files=dict(other_files),
            groups=None if groups is None else len(groups),
            shared_groups=shared,
            manifest=manifest,
            sha256=digests,
            created_at=datetime.now(UTC),
        )
        return self._publish(record)

    def _finish_groups(self, splits: Sequence[Split], names: Sequence[str]) -> int:
        """Write the names and draw the folds. Returns how many groups are in training and in another split."""
        (self.folder / GROUP_NAMES_FILE).write_text("".join(f"{name}\n" for name in names), "utf-8")
        groups = {split: np.load(self.folder / groups_file(split)) for split in splits}
        labels = np.load(self.folder / labels_file("train"))
        np.save(self.folder / FOLDS_FILE, draw_folds(labels, groups["train"], seed=0))
        return shared_groups(groups)

    def _publish(self, record: DatasetRecord) -> DatasetRecord:
        while True:
            record = record.model_copy(update={"name": free_name(self._root, self.name)})
            (self.folder / RECORD_FILE).write_text(record.model_dump_json(indent=1) + "\n", "utf-8")
            sync(self.folder / RECORD_FILE)
            sync(self.folder)
            try:
                self.folder.rename(self._root / record.name)
            except OSError as error:
                if error.errno in (errno.ENOTEMPTY, errno.EEXIST):
                    continue  # another import took the name in between
                raise
            sync(self._root)
            return record


def sweep_abandoned(root: Path) -> None:
    """Remove the incomplete folders of writers that have exited."""
    with _locked(root):
        for folder in root.glob(f"{_TEMPORARY}*"):
            try:
                descriptor = _open_folder(folder)
            except OSError:
                continue  # its writer has just finished
            try:
                if lock_descriptor(descriptor, wait=False):
                    shutil.rmtree(folder, ignore_errors=True)
            finally:
                os.close(descriptor)


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    descriptor = _open_folder(folder)
    try:
        lock_descriptor(descriptor, wait=True)
        yield
    finally:
        os.close(descriptor)


def _open_folder(folder: Path) -> int:
    return os.open(folder, os.O_RDONLY | os.O_DIRECTORY)


def _reserve(path: Path) -> None:
    """Allocate the file's disk space: writing to a memory map of a sparse file on a full disk raises SIGBUS."""
    if not hasattr(os, "posix_fallocate"):
        return
    with path.open("r+b") as file:
        os.posix_fallocate(file.fileno(), 0, path.stat().st_size)


@contextmanager
def full_disk_named() -> Iterator[None]:
    """Raise DiskFull instead of the OSError of a full disk or an exceeded quota."""
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise DiskFull("No space left on device: the dataset could not be written.") from error


def sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
