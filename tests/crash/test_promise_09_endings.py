"""Promise 9: out of memory, NaN and a full disk each end a run with their own error code and keep its checkpoints.

A NaN validation loss never makes a checkpoint "best".
"""

from __future__ import annotations

import math
import resource
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from tests.conftest import ENDLESS, NARROW, Server, wait_for
from trainer.models import checkpoint
from trainer.rundir.checkpoints import best_checkpoint, list_checkpoints

DISK_SIZE = 32 << 20
MEMORY_LEFT = 150 << 20


def assert_kept(server: Server, run_id: str) -> None:
    folder = server.settings.runs / run_id
    listed = list_checkpoints(folder)
    assert listed
    for info in listed:
        checkpoint.load(folder, info)


@pytest.mark.timeout(120)
def test_promise_09_nan_is_said_and_never_the_best(server: Server) -> None:
    server.start("web", "worker")
    overrides = {**NARROW, "epochs": 3, "optimizer.name": "sgd", "optimizer.lr": 10}
    run = server.wait_status(server.launch(overrides=overrides), "failed")
    assert run["error"]["code"] == "diverged"
    with server.client() as client:
        for info in client.get(f"/api/runs/{run['id']}/checkpoints").json():
            assert not info["best"] or math.isfinite(info["metrics"]["val/loss"])
    best = best_checkpoint(server.settings.runs / run["id"])
    assert best is None or math.isfinite(best.metrics["val/loss"])


@pytest.mark.timeout(120)
def test_promise_09_out_of_memory_is_said_and_the_checkpoint_kept(server: Server) -> None:
    """A limit on the fork server's address space, which the trainer inherits, is too low for a batch of 2,000."""
    server.start("web")
    server.spawn("worker")
    run_id = server.launch(overrides={**NARROW, "epochs": 1, "batch_size": 2000})
    server.wait_status(run_id, "finished")
    (forkserver,) = psutil.Process(server.processes["worker"].pid).children()
    limit = forkserver.memory_info().vms + MEMORY_LEFT
    forkserver.rlimit(psutil.RLIMIT_AS, (limit, resource.RLIM_INFINITY))
    with server.client() as client:
        client.post(f"/api/runs/{run_id}/resume", json={"extend_epochs": 1}).raise_for_status()
    assert server.wait_status(run_id, "failed")["error"]["code"] == "out_of_memory"
    assert_kept(server, run_id)
    forkserver.rlimit(psutil.RLIMIT_AS, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    with server.client() as client:
        client.post(f"/api/runs/{run_id}/resume").raise_for_status()
    server.wait_status(run_id, "finished")


@pytest.fixture
def small_disk(server: Server) -> Iterator[Path]:
    """The home's runs folder, mounted as a tmpfs of 32 MiB. Skips the test where mounting is not permitted."""
    folder = server.settings.runs
    folder.mkdir(exist_ok=True)
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={DISK_SIZE}", "tmpfs", str(folder)], check=False)
    if mounted.returncode:
        pytest.skip("mounting a small disk takes root")
    yield folder
    server.close()
    subprocess.run(["umount", str(folder)], check=True)


def fill(folder: Path) -> Path:
    """Fill the file system of `folder` completely and return the file that does so."""
    path = folder / "filling"
    with path.open("wb", buffering=0) as file, suppress(OSError):
        while True:
            file.write(bytes(4096))
    return path


@pytest.mark.timeout(180)
def test_promise_09_a_full_disk_is_said_and_the_checkpoint_kept(server: Server, small_disk: Path) -> None:
    server.start("web", "worker")
    run_id = server.launch(overrides={**NARROW, **ENDLESS})
    wait_for(lambda: list_checkpoints(small_disk / run_id), 60, "a checkpoint")
    filling = fill(small_disk)
    failed = server.wait_status(run_id, "failed")
    assert failed["error"]["code"] == "disk_full"
    assert_kept(server, run_id)
    with server.client() as client:
        refused = client.post("/api/runs", json={"dataset": "shapes100", "preset": "baseline-cnn"})
        assert (refused.status_code, refused.json()["error"]["code"]) == (507, "disk_full")
        filling.unlink()
        client.post(f"/api/runs/{run_id}/resume").raise_for_status()
        server.wait_step(run_id, failed["step"] + 1)
        client.post(f"/api/runs/{run_id}/stop").raise_for_status()
    server.wait_status(run_id, "stopped")
    steps = server.series(run_id, "train/loss")["train/loss"]["step"]
    assert steps == sorted(set(steps))
