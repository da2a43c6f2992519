"""Asks the kernel to read stored images that will be needed soon, many at once, so that a disk works in parallel."""

from __future__ import annotations

import os
import weakref
from pathlib import Path

import numpy as np
from torch import Tensor


class ReadAhead:
    """For the rows of a .npy file. Memory is not held: what is read lies in the page cache until it is needed."""

    def __init__(self, path: Path) -> None:
        stored = np.load(path, mmap_mode="r")
        self._begin, self._length = stored.offset, stored[:1].nbytes
        self._file: int | None = None
        if hasattr(os, "posix_fadvise"):  # not on macOS
            self._file = os.open(path, os.O_RDONLY)
            weakref.finalize(self, os.close, self._file)

    def ask(self, rows: Tensor) -> None:
        """`rows` are int64 (n,) on the CPU."""
        if self._file is None:
            return
        for row in rows.tolist():
            os.posix_fadvise(self._file, self._begin + row * self._length, self._length, os.POSIX_FADV_WILLNEED)
