"""Startup time and memory of the web process."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil

from app.settings import Settings
from app.storage.db import Database
from app.supervisor import free_port
from tests.benchmarks.rows import Row, answers, data_root, until

TIMES = 5


def measure() -> list[Row]:
    seconds, sizes = [], []
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "datasets").symlink_to(data_root().resolve())
        database = Database(Settings(home=Path(folder)).url)
        database.migrate()
        database.close()
        for _ in range(TIMES):
            port = free_port("127.0.0.1")
            started = time.perf_counter()
            process = subprocess.Popen(
                [sys.executable, "-m", "app.cli", "web", "--port", str(port)],
                env={**os.environ, "TRACKSIDE_HOME": folder},
            )
            address = f"http://127.0.0.1:{port}"
            until(lambda address=address: answers(f"{address}/healthz"))  # type: ignore[misc]
            seconds.append(time.perf_counter() - started)
            for page in ("/", "/runs/new", "/datasets", "/datasets/shapes100", "/predict"):
                assert answers(address + page)
            sizes.append(psutil.Process(process.pid).memory_info().rss / 2**20)
            process.terminate()
            process.wait(30)
    ready, size = statistics.median(seconds), statistics.median(sizes)
    return [
        Row("web process: ready after its start", "≤ 1.5 s", f"{ready:.2f} s (median of {TIMES})", ready <= 1.5),
        Row("web process: resident memory, every page opened", "< 150 MB", f"{size:.0f} MiB", size < 143),
    ]
