"""Runs on several devices of nodes: of one, and across them; a machine of them is killed, cut off, or leaves."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from typing import Any

import pytest
from sqlmodel import select

from app.storage.db import Database
from app.storage.tables import Run
from tests.cluster.machines import CAN_ISOLATE, Machine, Network, serving
from tests.cluster.test_cluster import assert_each_step_once, wait_joined
from tests.conftest import ENDLESS, FIXED, NARROW, Server, wait_for
from tests.trainer.test_ranks import assert_same_weights
from trainer.rundir.checkpoints import last_checkpoint, list_checkpoints

pytest.importorskip("ray", reason="the extra trackside[cluster] is not installed")
pytestmark = [
    pytest.mark.timeout(400),
    pytest.mark.skipif(not CAN_ISOLATE, reason="machines of one's own take Linux, root, unshare and ip"),
]

WITHOUT_NORM = "tests.trainer.engine.networks_of_ranks:without_norm"
SHORT: dict[str, Any] = {
    **NARROW,
    **FIXED,
    "max_steps": 12,
    "epochs": 1,
    "model.widths": [],
    "model.name": WITHOUT_NORM,
}
LONG: dict[str, Any] = {**NARROW, **FIXED, **ENDLESS, "devices": 2, "checkpoint_minutes": 0.02}


@pytest.fixture
def served(server: Server, lan: Network) -> Iterator[subprocess.Popen[bytes]]:
    with serving(server, lan, TRACKSIDE_CUSTOM_MODELS=WITHOUT_NORM) as process:
        yield process


def joined(server: Server, lan: Network, *names: str) -> list[Machine]:
    machines = [lan.machine(name) for name in names]
    for machine in machines:
        machine.join()
    wait_joined(server, *(f"{name}/cpu" for name in names))
    return machines


def devices_of(run: dict[str, Any]) -> list[str]:
    return [run["device"], *(run["other_devices"] or [])]


def trained(server: Server) -> str:
    """A run on both nodes, with a checkpoint at home."""
    run_id = server.launch(overrides=LONG)
    server.wait_step(run_id, 30)
    wait_for(lambda: list_checkpoints(server.settings.runs / run_id), 60, "a checkpoint at home")
    assert sorted(devices_of(server.run(run_id))) == ["a/cpu", "b/cpu"]
    return run_id


def assert_goes_on(server: Server, run_id: str, step: int) -> None:
    """On both nodes, in its second attempt; it is stopped then."""
    wait_for(lambda: server.run(run_id)["attempt"] == 2, 150, "a second attempt")
    server.wait_step(run_id, step + 20, seconds=90)
    run = server.run(run_id)
    assert sorted(devices_of(run)) == ["a/cpu", "b/cpu"]
    stopped = server.stop_run(run_id)
    assert (stopped["status"], stopped["attempt"]) == ("stopped", 2)
    assert list_checkpoints(server.settings.runs / run_id)[-1].step == stopped["step"]
    assert_each_step_once(server, run_id)


def deaths(server: Server, run_id: str) -> int:
    database = Database(server.settings.url)
    with database.read() as session:
        found = session.exec(select(Run.deaths).where(Run.id == run_id)).one()
    database.close()
    return found


def test_two_machines_train_what_one_device_trains(
    server: Server, lan: Network, served: subprocess.Popen[bytes]
) -> None:
    joined(server, lan, "a", "b")
    one, two = server.launch(overrides=SHORT), server.launch(overrides={**SHORT, "devices": 2})
    assert devices_of(server.wait_status(one, "finished"))[1:] == []
    assert sorted(devices_of(server.wait_status(two, "finished"))) == ["a/cpu", "b/cpu"]
    runs = server.settings.runs
    assert_same_weights(runs / two, runs / one, 1e-6)
    with server.client() as client:
        assert " + " in client.get(f"/runs/{two}").text


@pytest.mark.long
def test_two_devices_of_one_machine_train_together(
    server: Server, lan: Network, served: subprocess.Popen[bytes]
) -> None:
    """No other machine is asked, though it is free; the run is stopped, and resumed on both."""
    a, b = lan.machine("a"), lan.machine("b")
    b.join()
    a.join(cpu_devices=2)
    wait_joined(server, "a/cpu", "a/cpu:1", "b/cpu")
    run_id = server.launch(overrides=LONG)
    server.wait_step(run_id, 30)
    assert sorted(devices_of(server.run(run_id))) == ["a/cpu", "a/cpu:1"]
    stopped = server.stop_run(run_id)
    saved = last_checkpoint(server.settings.runs / run_id)
    assert saved is not None
    assert (stopped["status"], saved.step) == ("stopped", stopped["step"])
    with server.client() as client:
        client.post(f"/api/runs/{run_id}/resume", json={}).raise_for_status()
        server.wait_step(run_id, stopped["step"] + 20)
        shown = {worker["device"]: worker["run"] for worker in client.get("/api/system").json()["workers"]}
    assert shown == {"a/cpu": run_id, "a/cpu:1": run_id, "b/cpu": None}
    assert sorted(devices_of(server.stop_run(run_id))) == ["a/cpu", "a/cpu:1"]
    assert_each_step_once(server, run_id)


@pytest.mark.long
def test_a_run_waits_for_the_machine_of_its_two_that_was_killed(
    server: Server, lan: Network, served: subprocess.Popen[bytes]
) -> None:
    joined(server, lan, "a", "b")
    run_id = trained(server)
    _, other = devices_of(server.run(run_id))
    step = server.run(run_id)["step"]
    victim = lan.machines[other.split("/")[0]]
    victim.kill()
    server.wait_status(run_id, "queued", seconds=90)
    assert deaths(server, run_id) == 0
    victim.join()
    assert_goes_on(server, run_id, step)
    assert deaths(server, run_id) == 0


@pytest.mark.long
@pytest.mark.parametrize("rank", [0, 1])
def test_a_machine_of_two_is_cut_off(server: Server, lan: Network, served: subprocess.Popen[bytes], rank: int) -> None:
    joined(server, lan, "a", "b")
    run_id = trained(server)
    step = server.run(run_id)["step"]
    victim = lan.machines[devices_of(server.run(run_id))[rank].split("/")[0]]
    victim.cut()
    server.wait_status(run_id, "queued", seconds=90)
    assert deaths(server, run_id) == 0
    victim.heal()
    assert_goes_on(server, run_id, step)
    assert deaths(server, run_id) == 0


@pytest.mark.long
def test_a_machine_of_two_leaves(server: Server, lan: Network, served: subprocess.Popen[bytes]) -> None:
    joined(server, lan, "a", "b")
    run_id = trained(server)
    other = devices_of(server.run(run_id))[1]
    assert lan.machines[other.split("/")[0]].leave() == 0
    run = server.wait_status(run_id, "queued")
    assert deaths(server, run_id) == 0
    assert list_checkpoints(server.settings.runs / run_id)[-1].step == run["step"]
    assert_each_step_once(server, run_id)


@pytest.mark.long
def test_one_of_the_two_machines_is_drained_with_its_runs(
    server: Server, lan: Network, served: subprocess.Popen[bytes]
) -> None:
    """The run is saved and queued, and goes on when both machines may be used again."""
    joined(server, lan, "a", "b")
    run_id = trained(server)
    other = server.run(run_id)["other_devices"][0].partition("/")[0]
    with server.client() as client:
        client.post(f"/api/nodes/{other}/drain", json={"runs": "move"}).raise_for_status()
        wait_for(lambda: server.run(run_id)["status"] == "queued", 60, "the run to be queued")
        saved = last_checkpoint(server.settings.runs / run_id)
        client.post(f"/api/nodes/{other}/resume").raise_for_status()
    assert saved is not None
    assert saved.step == server.run(run_id)["step"]
    assert_goes_on(server, run_id, saved.step)
    assert deaths(server, run_id) == 0
