"""The simulated CUDA device: its library, compiled once, scripts that see it, servers that see it, and its log."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson
import pytest

from tests.conftest import new_server
from tests.cuda import build
from tests.cuda.log import Log
from tests.gpu.cases import Case
from tests.gpu.server import GpuServer

ROOT = Path(__file__).parents[2]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if (reason := build.missing()) is None:
        return
    for item in items:
        if item.path.is_relative_to(Path(__file__).parent):
            item.add_marker(pytest.mark.skip(reason=f"the simulated CUDA device: {reason}"))


@pytest.fixture(scope="session")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build.build(tmp_path_factory.mktemp("cuda"))


@dataclass
class Device:
    """The simulated device for the processes of one test. `settings` are FAKE_CUDA_* variables, see README.md."""

    library: Path
    folder: Path
    settings: dict[str, str] = field(default_factory=dict)

    @property
    def log(self) -> Log:
        return Log(self.folder / "cuda.log")

    @property
    def environment(self) -> dict[str, str]:
        # The test of a GPU by its worker multiplies matrices: the sum of their product is 64 ** 3.
        result = {"FAKE_CUDA_RESULT": "trainer.models.gpus=262144"}
        named = {"FAKE_CUDA_LOG": str(self.log.path), "FAKE_CUDA_FAIL": str(self._failing)}
        caches = {"TORCHINDUCTOR_CACHE_DIR": str(self.folder / "inductor"), "OMP_NUM_THREADS": "1"}
        return {**build.environment(self.library), **result, **named, **caches, **self.settings}

    @property
    def _failing(self) -> Path:
        return self.folder / "failing"

    def fail(self, *functions: str) -> None:
        """Let these functions fail from now on, in all processes: "cudaMalloc", "cublasCreate" and others."""
        self._failing.write_text(" ".join(functions))

    def script(self, module: str, *arguments: object) -> Any:
        """Run `python -m tests.cuda.<module>` on the device and return the JSON that it prints last."""
        command = [sys.executable, "-m", f"tests.cuda.{module}", *map(str, arguments)]
        done = subprocess.run(
            command, cwd=ROOT, env={**os.environ, **self.environment}, capture_output=True, text=True, timeout=100
        )
        assert done.returncode == 0, done.stderr
        return orjson.loads(done.stdout.splitlines()[-1])

    def train(self, datasets: Path, *cases: Case) -> dict[str, str]:
        """Train the runs in one process; return how each ended, by name."""
        endings: dict[str, str] = self.script("train", self.folder, datasets, orjson.dumps(cases).decode())
        return endings


@pytest.fixture
def device(library: Path, tmp_path: Path) -> Device:
    return Device(library, tmp_path)


@dataclass
class CudaServer(GpuServer):
    """A server whose processes see the simulated device."""

    device: Device = field(kw_only=True)

    def environment(self) -> dict[str, str]:
        return {**super().environment(), **self.device.environment}


@contextmanager
def server_on(device: Device, datasets: Path) -> Iterator[CudaServer]:
    """A server in the device's folder. No process is started; those that the test starts end with it."""
    made = new_server(device.folder / "home", datasets)
    server = CudaServer(made.home, made.settings, device=device)
    try:
        yield server
    finally:
        server.close()


@pytest.fixture
def cuda_server(device: Device, shapes: Path) -> Iterator[CudaServer]:
    with server_on(device, shapes) as server:
        yield server
