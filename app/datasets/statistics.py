"""Statistics of datasets: computed once per content in a subprocess, and stored in the home's cache."""

from __future__ import annotations

import hashlib
import logging
import subprocess
import sys
import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor
from functools import lru_cache
from pathlib import Path

from trainer.data.format import DatasetRecord, list_records
from trainer.data.survey import Measures, Statistics, read
from trainer.system.durable import remove_folder

log = logging.getLogger(__name__)

CACHED_DATASETS = 4  # datasets whose statistics stay in memory
TIMEOUT_SECONDS = 3600.0
RETRY_SECONDS = 60.0  # after a failure, which may have been a full disk or a lack of memory


class DatasetStatistics:
    def __init__(self, datasets: Path, cache: Path) -> None:
        self._datasets = datasets
        self._cache = cache
        self._measuring: dict[str, Future[None]] = {}
        self._failed_at: dict[str, float] = {}
        self._executor = ThreadPoolExecutor(1, "statistics")
        self._lock = threading.Lock()
        self._process: subprocess.Popen[str] | None = None
        self._measured = ""  # the content that the process computes
        self._closed = False
        self._read = lru_cache(CACHED_DATASETS)(read)

    def of(self, record: DatasetRecord) -> tuple[Statistics, Measures] | None:
        """Return the statistics, or None if they have not been computed."""
        folder = self._folder(record)
        found = self._read(folder)
        if found is not None:
            return found
        self._read.cache_clear()  # a missing result must not stay cached
        return None

    def begin(self, record: DatasetRecord) -> None:
        """Start the computation unless there is a result, or it is at work or has failed within a minute."""
        folder = self._folder(record)
        if self.of(record) is None and (folder.name not in self._measuring or self._may_retry(folder.name)):
            self._measuring[folder.name] = self._executor.submit(self._measure, record.name, folder)

    def measuring(self, record: DatasetRecord) -> bool:
        """Return whether the computation is at work or waits for another one."""
        running = self._measuring.get(self._folder(record).name)
        return running is not None and not running.done()

    def failed(self, record: DatasetRecord) -> bool:
        """Return whether the last computation ended without a result."""
        running = self._measuring.get(self._folder(record).name)
        return running is not None and running.done() and running.exception() is not None

    def forget(self, record: DatasetRecord) -> None:
        """End the computation of a dataset that was deleted or renamed; delete its result unless it has a copy."""
        folder = self._folder(record)
        with self._lock:
            running = self._measuring.pop(folder.name, None)
            if running is not None:
                running.cancel()
            if self._process is not None and self._measured == folder.name:
                self._measured = ""
                self._process.terminate()
        if all(self._folder(other) != folder for other in list_records(self._datasets)):
            remove_folder(folder)
            self._read.cache_clear()

    def close(self) -> None:
        """End the computation at hand: the interpreter would wait for its thread, and the thread for the process."""
        with self._lock:
            self._closed = True
            if self._process is not None:
                self._process.terminate()
        self._executor.shutdown(wait=False, cancel_futures=True)

    def _may_retry(self, name: str) -> bool:
        if name not in self._failed_at:
            return self._measuring[name].done()  # its result has been deleted since
        return time.monotonic() - self._failed_at[name] > RETRY_SECONDS

    def _folder(self, record: DatasetRecord) -> Path:
        content = hashlib.sha256("".join(f"{k}{v}" for k, v in sorted(record.sha256.items())).encode())
        return self._cache / "statistics" / content.hexdigest()[:32]

    def _measure(self, name: str, folder: Path) -> None:
        command = [sys.executable, "-m", "trainer.data.survey", str(self._datasets), name, str(folder)]
        self._failed_at.pop(folder.name, None)
        with self._lock:
            if self._closed:
                return
            pipe = subprocess.PIPE
            process = self._process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=pipe, text=True)
            self._measured = folder.name
        try:
            _, errors = process.communicate(timeout=TIMEOUT_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            errors = f"not done within {TIMEOUT_SECONDS:.0f} s"
            process.communicate()
        with self._lock:
            self._process = None
            forgotten = self._measured != folder.name
        if process.returncode and not self._closed and not forgotten:
            self._failed_at[folder.name] = time.monotonic()
            log.error("the statistics of %s failed: %s", name, errors[-2000:])
            raise RuntimeError(errors[-300:])
