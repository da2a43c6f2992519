"""Slow networks and full disks: what a run loses by them is time."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from importlib.metadata import version
from pathlib import Path

import pytest

from tests.cluster.machines import CAN_ISOLATE, Network, serving
from tests.cluster.test_cluster import assert_each_step_once, joined, said_of, wait_joined
from tests.conftest import ENDLESS, NARROW, Server, wait_for
from trainer.rundir.checkpoints import list_checkpoints

pytest.importorskip("ray", reason="the extra trackside[cluster] is not installed")
pytestmark = [
    pytest.mark.timeout(400),
    pytest.mark.long,
    pytest.mark.skipif(not CAN_ISOLATE, reason="machines of one's own take Linux, root, unshare and ip"),
]

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


def other_patch() -> str | None:
    """An interpreter that differs from this one in nothing but the last part of its version."""
    here = sys.version_info
    for folder in (*Path("/root/.pyenv/versions").glob("*/bin"), *map(Path, ("/usr/bin", "/usr/local/bin"))):
        path = folder / f"python{here.major}.{here.minor}"
        if path.exists():
            asked = subprocess.run([path, "-V"], capture_output=True, text=True, timeout=20, check=False)
            if asked.returncode == 0 and asked.stdout.split()[-1] != platform.python_version():
                return str(path)
    return None


OTHER_PYTHON = other_patch()


@pytest.mark.skipif(OTHER_PYTHON is None, reason="takes a Python that differs in its patch version alone")
def test_a_node_with_another_patch_version_of_python_is_refused_in_words(server: Server, lan: Network) -> None:
    with serving(server, lan):
        a = lan.machine("a")
        assert OTHER_PYTHON is not None
        a.python = OTHER_PYTHON
        a.join(PYTHONPATH=os.pathsep.join(["client", *sys.path]))
        wait_for(lambda: "again in" in a.output.read_text(), 60, "the refusal")
        (said,) = [line for line in a.output.read_text().splitlines() if "cannot join" in line][:1]
        ray = f"Ray {version('ray')}"
        assert f"the home has {ray} and Python {platform.python_version()}, and this machine {ray} and Python" in said
        assert "install the same versions" in said
        assert "Traceback" not in a.output.read_text()


def test_a_home_that_is_not_there_is_waited_for(server: Server, lan: Network) -> None:
    lan.token.write_text("0" * 64)
    a = lan.machine("a")
    a.join()
    wait_for(lambda: "cannot join: the home does not answer" in a.output.read_text(), 120, "the words")
    with serving(server, lan):
        wait_joined(server, "a/cpu")
        wait_for(lambda: "joined the cluster" in a.output.read_text(), 30, "the words")


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
