"""A server whose workers train on GPUs."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import psutil
from PIL import Image

from tests.conftest import Server, new_server
from tests.processes import children_with

CUDA_FILE = "/dev/nvidia-uvm"  # open in every process that has initialized CUDA, and in none that only asks NVML


@dataclass
class GpuServer(Server):
    may_fork: ClassVar[bool] = False  # a library that is loaded first is loaded by a process that begins

    def start_worker(self, name: str, **environment: str) -> None:
        """Start the worker of the device `name`, such as "cuda:0"."""
        self.processes[name] = subprocess.Popen(
            [sys.executable, "-m", "app.cli", "worker", "--device", name],
            env={**os.environ, **self.environment(), **environment},
            start_new_session=True,
        )

    def fork_server(self, worker: str) -> int:
        """Return the pid of the worker's fork server."""
        return children_with("trainer.process.forkserver", self.processes[worker].pid)[0].pid

    def predicts(self, run_id: str) -> bool:
        """Return whether the predictor answers for an image."""
        file = io.BytesIO()
        Image.new("RGB", (32, 32), (200, 40, 40)).save(file, "PNG")
        with self.client() as client:
            params, files = {"model": run_id}, {"file": ("a.png", file.getvalue())}
            return client.post("/api/predict", params=params, files=files).status_code == 200

    def children(self, name: str) -> set[int]:
        return {child.pid for child in psutil.Process(self.processes[name].pid).children(recursive=True)}


def has_initialized_cuda(pid: int) -> bool:
    """Return whether a process has a file open that only CUDA opens. The simulated device opens none."""
    files = Path(f"/proc/{pid}/fd").iterdir()
    return any(os.path.realpath(file).startswith(CUDA_FILE) for file in files)


@contextmanager
def gpu_server(home: Path, datasets: Path) -> Iterator[GpuServer]:
    """A server on the new home `home`. No process is started; those that are started end with it."""
    made = new_server(home, datasets)
    server = GpuServer(made.home, made.settings)
    try:
        yield server
    finally:
        server.close()
