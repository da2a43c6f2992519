"""What all steps share: the device, a scratch folder with the datasets, and whether this is a dry run."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from tests.gpu.verdict import Verdict, check, measurement

# Environment variables of the tests.
DRY_RUN = "TRACKSIDE_TEST_DRY_RUN"
DEVICE = "TRACKSIDE_TEST_DEVICE"
SMALL, CIFAR = "shapes100", "cifar100"

T = TypeVar("T")


@dataclass(frozen=True)
class Setup:
    """`folder` holds all that the steps write. `data`: a folder of mosaics, or none.

    In a dry run the device is the simulated one, which computes nothing: sizes are small, and what depends on results
    or on speed is not judged.
    """

    folder: Path
    device: str = "cuda:0"
    data: Path | None = None
    dry_run: bool = False

    @property
    def datasets(self) -> Path:
        return self.folder / "datasets"

    @property
    def has_cifar(self) -> bool:
        return (self.datasets / CIFAR / "dataset.json").exists()

    @property
    def environment(self) -> dict[str, str]:
        """Variables of every process of a step. Steps share what torch.compile has built."""
        own = {"TRACKSIDE_HOME": str(self.folder), "CUDA_DEVICE_ORDER": "PCI_BUS_ID", DEVICE: self.device}
        caches = {"TORCHINDUCTOR_CACHE_DIR": str(self.folder / "inductor")}
        return {**os.environ, **own, **caches, **({DRY_RUN: "1"} if self.dry_run else {})}

    def size(self, real: T, dry: T) -> T:
        """Return `dry` in a dry run."""
        return dry if self.dry_run else real

    def compare(self, what: str, passed: bool, measured: str, mark: str = "") -> Verdict:
        """A verdict on results or speed of the GPU, which a dry run cannot give."""
        if self.dry_run:
            return Verdict(what, "not judged", measured, mark)
        return check(what, passed, measured, mark) if mark else measurement(what, measured)

    @contextmanager
    def scratch(self) -> Iterator[Path]:
        """An empty folder, deleted at the end."""
        with tempfile.TemporaryDirectory(dir=self.folder) as path:
            yield Path(path)


def is_dry_run() -> bool:
    return DRY_RUN in os.environ
