"""Result rows of benchmarks, and the servers that they use."""

from __future__ import annotations

import os
import platform
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import psutil
import torch

from app.settings import Settings
from app.supervisor import free_port
from trainer.data.sources.shapes import make_shapes100
from trainer.system.machine import processor_name

NOTHING: Mapping[str, str] = {}


@dataclass(frozen=True)
class Row:
    """One result. `mark` is the target; `passed` is None if there is no target."""

    what: str
    mark: str
    measured: str
    passed: bool | None


def machine() -> str:
    memory = psutil.virtual_memory().total / 2**30
    return (
        f"{processor_name()}, {psutil.cpu_count()} cores, {memory:.0f} GiB, no GPU used; Linux, "
        f"Python {platform.python_version()}, torch {torch.__version__}"
    )


def data_root() -> Path:
    """Return the home's datasets folder, with shapes100 generated in it if it is missing."""
    root = Settings().datasets
    if not (root / "shapes100" / "dataset.json").exists():
        make_shapes100(root)
    return root


@contextmanager
def served(*, workers: str = "1", home: Path | None = None, environment: Mapping[str, str] = NOTHING) -> Iterator[str]:
    """Run `trackside serve` on `home` (an existing folder) or a temporary one; yield its address."""
    with tempfile.TemporaryDirectory() as folder:
        home = home or Path(folder)
        if not (home / "datasets").exists():
            (home / "datasets").symlink_to(data_root().resolve())
        port = free_port("127.0.0.1")
        process = subprocess.Popen(
            [sys.executable, "-m", "app.cli", "serve", "--port", str(port), "--workers", workers],
            env={**os.environ, **environment, "TRACKSIDE_HOME": str(home)},
            start_new_session=True,
        )
        try:
            until(lambda: answers(f"http://127.0.0.1:{port}/readyz"))
            yield f"http://127.0.0.1:{port}"
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(60)


@contextmanager
def web_process(home: Path, port: int, **environment: str) -> Iterator[str]:
    """Run only the web process, on a migrated database; yield its address."""
    process = subprocess.Popen(
        [sys.executable, "-m", "app.cli", "web", "--port", str(port)],
        env={**os.environ, **environment, "TRACKSIDE_HOME": str(home)},
    )
    try:
        until(lambda: answers(f"http://127.0.0.1:{port}/healthz"))
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(30)


def answers(url: str) -> bool:
    try:
        return httpx.get(url, timeout=5).status_code == 200
    except httpx.TransportError:
        return False


def until(condition: Callable[[], object], seconds: float = 120, pause: float = 0.005) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError
        time.sleep(pause)


def percentile(values: list[float], share: float) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, round(share * (len(ordered) - 1)))]
