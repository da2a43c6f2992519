"""A home and nodes in a network of their own, connected by Ray: runs train there, survive, and can be steered."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from app.cluster.ray_process import head_command, ray_environment, token_file
from tests.cluster.machines import CAN_ISOLATE, Machine, Network, processes_with, serving
from tests.conftest import ENDLESS, NARROW, Server, wait_for
from trainer.rundir.checkpoints import list_checkpoints
from trainer.rundir.events import walk

pytest.importorskip("ray", reason="the extra trackside[cluster] is not installed")
pytestmark = [
    pytest.mark.timeout(400),
    pytest.mark.skipif(not CAN_ISOLATE, reason="machines of one's own take Linux, root, unshare and ip"),
]

JOINED = 90.0


@pytest.fixture
def served(server: Server, lan: Network) -> Iterator[subprocess.Popen[bytes]]:
    with serving(server, lan) as process:
        yield process


def ready(server: Server) -> list[str]:
    """The devices that can be trained on."""
    with server.client() as client:
        workers = client.get("/api/system").json()["workers"]
    return [worker["device"] for worker in workers if not worker["description"].startswith("not used")]


def said_of(server: Server, device: str) -> str:
    with server.client() as client:
        workers = client.get("/api/system").json()["workers"]
    return next((str(worker["description"]) for worker in workers if worker["device"] == device), "")


def wait_joined(server: Server, *devices: str) -> None:
    wait_for(lambda: set(devices) <= set(ready(server)), JOINED, f"{devices} to join")


def joined(server: Server, lan: Network) -> Machine:
    """A new machine, a, that has joined."""
    machine = lan.machine("a")
    machine.join()
    wait_joined(server, f"{machine.name}/cpu")
    return machine


def test_a_run_goes_on_elsewhere_when_its_machine_is_gone(
    server: Server, lan: Network, served: subprocess.Popen[bytes]
) -> None:
    a = joined(server, lan)
    run_id = server.launch(overrides={**NARROW, **ENDLESS, "checkpoint_minutes": 0.02})
    server.wait_step(run_id, 30)
    wait_for(lambda: list_checkpoints(server.settings.runs / run_id), 60, "a checkpoint at home")
    a.kill()
    b = lan.machine("b")
    b.join()
    wait_joined(server, "b/cpu")
    step = server.run(run_id)["step"]
    wait_for(lambda: server.run(run_id)["attempt"] == 2, 90, "a second attempt")
    server.wait_step(run_id, step + 30)
    run = server.run(run_id)
    assert (run["device"], run["attempt"]) == ("b/cpu", 2)
    stopped = server.stop_run(run_id)
    assert stopped["status"] == "stopped"
    assert_each_step_once(server, run_id)
    assert list_checkpoints(server.settings.runs / run_id)[-1].step == stopped["step"]


@pytest.mark.long
def test_processes_of_ray_are_killed_while_a_run_is_trained(server: Server, lan: Network) -> None:
    """The seat, Ray on the node, the outpost, the head: the same trainer goes on, and no value is lost."""
    # On a busy machine it takes a while until everything is there again.
    with serving(server, lan, TRACKSIDE_REMOTE_PATIENCE_SECONDS="120") as served:
        a = joined(server, lan)
        run_id = server.launch(overrides={**NARROW, **ENDLESS, "checkpoint_minutes": 0.02})
        server.wait_step(run_id, 30)
        for victim, of in (
            ("ray::NodeSeat", a.pid),
            ("raylet/raylet", a.pid),
            ("app.cli outpost", served.pid),
            ("gcs_server", served.pid),
        ):
            process, *_ = wait_for(partial(processes_with, victim, of), 60, victim)
            process.kill()
            step = server.run(run_id)["step"]
            server.wait_step(run_id, step + 30, seconds=150)
        run = server.stop_run(run_id)
        assert (run["status"], run["attempt"]) == ("stopped", 1)
        assert_each_step_once(server, run_id)


@pytest.mark.long
def test_a_cluster_that_somebody_else_has_started(server: Server, lan: Network) -> None:
    head, a = lan.machine("head"), lan.machine("a")
    address = f"{head.address}:6379"
    environment = ray_environment(token_file(server.home))
    head.start(head_command(head.address, 6379, Path(f"/tmp/trackside-ray-{os.getuid()}")), **environment)
    with serving(server, lan, existing=address):
        a.join(address)
        wait_joined(server, "a/cpu")
        run_id = server.launch(overrides={**NARROW, "epochs": 1, "batch_size": 400})
        run = server.wait_status(run_id, "finished", seconds=120)
        assert run["device"] == "a/cpu"
        assert_each_step_once(server, run_id)


@pytest.mark.long
def test_a_machine_that_was_cut_off_comes_back_when_its_run_has_moved_on(
    server: Server, lan: Network, served: subprocess.Popen[bytes]
) -> None:
    a, b = lan.machine("a"), lan.machine("b")
    a.join()
    wait_joined(server, "a/cpu")
    run_id = server.launch(overrides={**NARROW, **ENDLESS, "checkpoint_minutes": 0.02})
    server.wait_step(run_id, 30)
    a.cut()
    b.join()
    wait_for(lambda: server.run(run_id)["attempt"] == 2, 120, "a second attempt")
    server.wait_step(run_id, server.run(run_id)["step"] + 20)
    a.heal()
    wait_joined(server, "a/cpu")
    runs = a.folder / "node" / "seats" / "0" / "runs"
    wait_for(lambda: not list(runs.glob("[!.]*")) or None, 90, "the end of what it trained meanwhile")
    server.wait_step(run_id, server.run(run_id)["step"] + 20)
    run = server.stop_run(run_id)
    assert (run["status"], run["attempt"], run["device"]) == ("stopped", 2, "b/cpu")
    assert_each_step_once(server, run_id)


@pytest.mark.long
def test_a_machine_leaves_and_its_run_is_saved_and_queued(
    server: Server, lan: Network, served: subprocess.Popen[bytes]
) -> None:
    a = joined(server, lan)
    run_id = server.launch(overrides={**NARROW, **ENDLESS})
    server.wait_step(run_id, 30)
    assert a.leave() == 0
    run = server.wait_status(run_id, "queued")
    saved = list_checkpoints(server.settings.runs / run_id)
    assert run["step"] >= 30
    assert saved[-1].step == run["step"]
    assert_each_step_once(server, run_id)


@pytest.mark.long
def test_a_drained_node_takes_no_run_until_it_is_resumed(server: Server, lan: Network) -> None:
    """Its run finishes, or is saved and queued again; a restart of the server does not change it."""
    with serving(server, lan):
        a = joined(server, lan)
        run_id = server.launch(overrides={**NARROW, **ENDLESS})
        server.wait_step(run_id, 30)
        with server.client() as client:
            client.post("/api/nodes/a/drain").raise_for_status()
            wait_for(lambda: "a/cpu" not in ready(server), 30, "the draining")
            server.wait_step(run_id, server.run(run_id)["step"] + 20)
            client.post("/api/nodes/a/drain", json={"runs": "move"}).raise_for_status()
        run = server.wait_status(run_id, "queued")
        assert (run["attempt"], list_checkpoints(server.settings.runs / run_id)[-1].step) == (1, run["step"])
    a.kill()
    with serving(server, lan):
        a.join()
        with server.client() as client:
            wait_for(lambda: client.get("/api/nodes").json()[0]["devices"], JOINED, "the node")
            (node,) = client.get("/api/nodes").json()
            wait_for(lambda: "drained" in said_of(server, "a/cpu"), 60, "the reason")
            assert (node["draining"], server.run(run_id)["status"]) == ("move", "queued")
            client.post("/api/nodes/a/resume").raise_for_status()
        server.wait_step(run_id, run["step"] + 20)
        assert server.stop_run(run_id)["status"] == "stopped"
        assert_each_step_once(server, run_id)


@pytest.mark.long
def test_a_run_on_a_node_is_steered_and_predicts(server: Server, lan: Network, served: subprocess.Popen[bytes]) -> None:
    """Pause, finish early, and extend reach a trainer on another machine; the model is at home."""
    joined(server, lan)
    run_id = server.launch(overrides={**NARROW, **ENDLESS})
    server.wait_step(run_id, 30)
    other = server.launch(overrides={**NARROW, "epochs": 2})
    with server.client() as client:
        client.post(f"/api/runs/{other}/move", json={"to": "now"}).raise_for_status()
        server.wait_status(other, "finished")
        server.wait_step(run_id, server.run(run_id)["step"] + 10)
        client.post(f"/api/runs/{run_id}/stop", json={"mode": "wind-down"}).raise_for_status()
        run = server.wait_status(run_id, "finished")
        assert (run["attempt"], run["device"]) == (2, "a/cpu")
        assert_each_step_once(server, run_id)
        client.post(f"/api/runs/{other}/resume", json={"extend_epochs": 1}).raise_for_status()
        assert server.wait_status(other, "finished")["epoch"] == 3
    assert_each_step_once(server, other)


def test_a_wrong_token_is_refused_in_words(server: Server, lan: Network, served: subprocess.Popen[bytes]) -> None:
    a = lan.machine("a")
    lan.token = lan.folder / "other-token"
    lan.token.write_text("0" * 64)
    a.join()
    wait_for(lambda: "cannot join: the home refuses the token" in a.output.read_text(), 60, "the refusal")
    assert ready(server) == []
    assert f"the head at {lan.listen} refuses the token in {lan.token}" in doctor(
        server, 1, "--join", lan.listen, "--token-file", str(lan.token)
    )
    assert f"the head at {lan.listen} answers, and accepts the token" in doctor(server, 0)


def doctor(server: Server, status: int, *words: str) -> str:
    """What it says, in one line."""
    command = [sys.executable, "-m", "app.cli", "doctor", *words]
    environment = {**os.environ, **server.environment()}
    ended = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=100, check=False)
    assert ended.returncode == status, ended.stdout
    return " ".join(ended.stdout.split())


def assert_each_step_once(server: Server, run_id: str) -> None:
    steps = server.series(run_id, "train/loss")["train/loss"]["step"]
    assert steps == sorted(set(steps))
    run = server.run(run_id)
    assert steps[-1] == run["step"]
    expected = [event["step"] for event in metrics_of(server.settings.runs / run_id)]
    assert steps == expected


def metrics_of(run_dir: Path) -> list[dict[str, Any]]:
    """The training points of the run directory, without those that a later attempt has replaced."""
    points: list[dict[str, Any]] = []
    for _, event in walk(run_dir):
        if event["e"] == "start":
            points = [point for point in points if point["step"] <= event["from_step"]]
        elif event["e"] == "metrics" and "train/loss" in event["v"]:
            points.append(event)
    return points
