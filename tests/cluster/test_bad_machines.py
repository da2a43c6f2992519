"""Slow networks and full disks: what a run loses by them is time."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pytest

from tests.cluster.machines import CAN_ISOLATE, Network, serving
from tests.cluster.test_cluster import assert_each_step_once, joined, lan, said_of, wait_joined
from tests.conftest import ENDLESS, NARROW, Server, wait_for
from trainer.rundir.checkpoints import list_checkpoints

pytest.importorskip("ray", reason="the extra trackside[cluster] is not installed")
pytestmark = [
    pytest.mark.timeout(400),
    pytest.mark.long,
    pytest.mark.skipif(not CAN_ISOLATE, reason="machines of one's own take Linux, root, unshare and ip"),
]
__all__ = ["lan"]

DISK = 1200 << 20  # a node with less than 1 GiB takes no run
SMALL_DISK = 48 << 20
SAVES = {**NARROW, **ENDLESS, "checkpoint_minutes": 0.02}


def fill(path: Path) -> None:
    """Write until the disk is full."""
    with path.open("wb", buffering=0) as file:
        while file.write(bytes(1 << 20)) == 1 << 20:
            pass  # the last piece finds less room


@contextmanager
def small_disk(folder: Path) -> Iterator[None]:
    folder.mkdir(exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={SMALL_DISK}", "tmpfs", folder], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)


def test_a_slow_network_that_loses_packets(server: Server, lan: Network) -> None:
    with serving(server, lan):
        a = joined(server, lan)
        a.slow(delay=0.05, loss=0.01)
        run_id = server.launch(overrides={**NARROW, "epochs": 3, "log_every": 1})
        run = server.wait_status(run_id, "finished", seconds=200)
        assert (run["attempt"], run["device"]) == (1, "a/cpu")
        assert_each_step_once(server, run_id)
        assert list_checkpoints(server.settings.runs / run_id)[-1].step == run["step"]


def test_a_full_disk_on_a_node_sends_its_run_elsewhere(server: Server, lan: Network) -> None:
    with serving(server, lan) as served:
        assert served.poll() is None
        a, b = lan.machine("a"), lan.machine("b")
        a.disk_bytes = DISK
        a.join()
        wait_joined(server, "a/cpu")
        run_id = server.launch(overrides=SAVES)
        wait_for(lambda: list_checkpoints(server.settings.runs / run_id), 60, "a checkpoint at home")
        fill(a.seen / "others")
        run = server.wait_status(run_id, "queued", seconds=120)
        assert run["error"] is None
        wait_for(lambda: "its disk is almost full" in said_of(server, "a/cpu"), 30, "the reason")
        b.join()
        server.wait_step(run_id, run["step"] + 20, seconds=120)
        run = server.stop_run(run_id)
        assert (run["status"], run["attempt"], run["device"]) == ("stopped", 2, "b/cpu")
        assert_each_step_once(server, run_id)


def test_a_full_disk_at_home_is_waited_for(server: Server, lan: Network) -> None:
    log = server.home / "cluster" / "outpost.log"
    with small_disk(server.settings.runs), serving(server, lan):
        joined(server, lan)
        run_id = server.launch(overrides={**SAVES, "log_every": 1})
        folder = server.settings.runs / run_id
        wait_for(lambda: list_checkpoints(folder), 60, "a checkpoint at home")
        fill(folder / "others")
        wait_for(lambda: "cannot be copied: trying again (The disk is full" in log.read_text(), 60, "the words")
        step = server.run(run_id)["step"]
        (folder / "others").unlink()
        server.wait_step(run_id, step + 50)
        saved = partial(lambda: list_checkpoints(folder)[-1].step > step)
        wait_for(saved, 60, "another checkpoint")
        run = server.stop_run(run_id)
        assert (run["status"], run["attempt"]) == ("stopped", 1)
        assert_each_step_once(server, run_id)
