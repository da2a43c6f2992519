"""Statistics of data sets: measured once for each content, by a process of its own, and kept in the home's cache."""

from __future__ import annotations

import hashlib
import logging
import subprocess
import sys
from concurrent.futures import Future, ThreadPoolExecutor
from functools import lru_cache
from pathlib import Path

from trainer.data.format import DatasetRecord
from trainer.data.survey import Measures, Statistics, read

log = logging.getLogger(__name__)

KEPT = 4  # data sets whose statistics stay in memory
SECONDS = 3600.0


class DatasetStatistics:
    def __init__(self, datasets: Path, cache: Path) -> None:
        self._datasets = datasets
        self._cache = cache
        self._measuring: dict[str, Future[None]] = {}
        self._executor = ThreadPoolExecutor(1, "statistics")
        self._read = lru_cache(KEPT)(read)

    def of(self, record: DatasetRecord) -> tuple[Statistics, Measures] | None:
        """None while they are being measured, which this begins; ask again."""
        folder = self._folder(record)
        found = self._read(folder)
        if found is not None:
            return found
        self._read.cache_clear()  # that there is nothing is not worth remembering
        if folder.name not in self._measuring:
            self._measuring[folder.name] = self._executor.submit(self._measure, record.name, folder)
        return None

    def failed(self, record: DatasetRecord) -> bool:
        """Whether the last measuring ended without a result."""
        running = self._measuring.get(self._folder(record).name)
        return running is not None and running.done() and running.exception() is not None

    def close(self) -> None:
        self._executor.shutdown(wait=False, cancel_futures=True)

    def _folder(self, record: DatasetRecord) -> Path:
        content = hashlib.sha256("".join(f"{k}{v}" for k, v in sorted(record.sha256.items())).encode())
        return self._cache / "statistics" / content.hexdigest()[:32]

    def _measure(self, name: str, folder: Path) -> None:
        command = [sys.executable, "-m", "trainer.data.survey", str(self._datasets), name, str(folder)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, check=False)
        if done.returncode:
            log.error("the statistics of %s failed: %s", name, done.stderr[-2000:])
            raise RuntimeError(done.stderr[-300:])
