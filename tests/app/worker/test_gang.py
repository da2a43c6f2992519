"""A run on the devices of two seats, in folders of their own, trained by real trainers in the workers' loops."""

from __future__ import annotations

import os
import random
import signal
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson
import pytest
import safetensors.torch
import torch
from sqlmodel import select
from torch import Tensor

from app.host.gpu_test import DeviceTest
from app.runs.launching import Launcher
from app.runs.requests import NewRun, ResumeRequest
from app.runs.runs import Runs
from app.storage.db import Database
from app.storage.tables import ENDED, Run, Status
from app.worker.gang import Place
from app.worker.loop import WorkerLoop
from app.worker.remote import RemoteExecutor
from app.worker.seat_calls import Unreachable
from tests.conftest import ENDLESS, FIXED, NARROW, wait_for
from tests.databases import settings_of
from trainer.node.calls import Beginning, Have, Pulled, Refused
from trainer.node.seat import Seat
from trainer.process.starter import Starter
from trainer.rundir.checkpoints import last_checkpoint
from trainer.rundir.events import walk
from trainer.rundir.folder import RunDir
from trainer.rundir.lock import lock_holder

WITHOUT_NORM = "tests.trainer.engine.networks_of_ranks:without_norm"
SHORT: dict[str, Any] = {
    **NARROW, **FIXED, "max_steps": 12, "epochs": 1, "log_every": 1, "model.widths": [], "model.name": WITHOUT_NORM,
}  # fmt: skip
LONG: dict[str, Any] = {**SHORT, **ENDLESS, "max_steps": None, "checkpoint_minutes": 0.02}


class SeatOnCable(Seat):
    """It can be cut off from the home; its trainer goes on. It can be behind a `firewall`, and kill its trainers."""

    is_cut = False
    firewall = False
    kills = 0

    def begin(self, what: Beginning) -> int | None:
        if self.firewall and what.part is not None and what.part.rank:
            meeting = orjson.dumps({**orjson.loads(what.part.meeting), "port": 1})
            what = replace(what, part=replace(what.part, meeting=meeting))
        pid = super().begin(what)
        if self.kills and pid is not None:
            self.kills -= 1
            os.kill(pid, signal.SIGKILL)
        return pid

    def pull(self, run: str, claim: int, attempt: int, have: Have, wait_seconds: float) -> Pulled:
        self._check_cable()
        return super().pull(run, claim, attempt, have, wait_seconds)

    def missing(self, hashes: list[str]) -> dict[str, int]:
        self._check_cable()
        return super().missing(hashes)

    def _check_cable(self) -> None:
        if self.is_cut:
            raise Unreachable("the cable is cut")


class Cluster:
    """A home with a worker for each of its nodes' seats, all in this process."""

    def __init__(self, home: Path, nodes: Path, shapes: Path, starter: Starter, *devices: str) -> None:
        home.mkdir()
        (home / "datasets").symlink_to(shapes)
        self.settings = settings_of(home, stop_seconds=20.0, custom_models=[WITHOUT_NORM])
        self.database = Database(self.settings.url)
        self.database.migrate()
        self.runs = Runs(self.database, self.settings)
        self.starter, self.nodes = starter, nodes
        self.places: dict[str, Place] = {}
        self.seats: dict[str, SeatOnCable] = {}
        self.workers: dict[str, WorkerLoop] = {}
        for device in devices:
            self.add(device)

    def add(self, device: str) -> None:
        node, _, kind = device.rpartition("/")
        self.seats[device] = SeatOnCable(self.nodes / node, kind.replace(":", "-"), kind, self.starter)
        self.places[device] = Place(device, self.seats[device], threading.Lock())
        self.open(device)

    def open(self, device: str) -> None:
        executor = RemoteExecutor(self.settings, self.places[device], self.places.__getitem__)
        self.workers[device] = WorkerLoop(self.settings, self.database, device, executor, DeviceTest("cpu"), host="n")

    def launch(self, **overrides: object) -> str:
        body = {"dataset": "shapes100", "preset": "baseline-cnn", "overrides": overrides}
        return Launcher(self.database, self.settings).create(NewRun.model_validate(body)).id

    def until(self, condition: Callable[[], object], what: str, seconds: float = 90.0) -> None:
        def ticked() -> object:
            for worker in self.workers.values():
                worker.tick(time.monotonic())
            return condition()

        wait_for(ticked, seconds, what)

    def row(self, run_id: str) -> Run:
        with self.database.read() as session:
            return session.exec(select(Run).where(Run.id == run_id)).one()

    def until_step(self, run_id: str, step: int, attempt: int = 1) -> None:
        def is_there() -> bool:
            row = self.row(run_id)
            return row.attempt == attempt and row.step >= step and row.status == Status.RUNNING

        self.until(is_there, f"step {step} of attempt {attempt}")

    def until_ended(self, run_id: str) -> Run:
        self.until(lambda: self.row(run_id).status in ENDED, "the end")
        return self.row(run_id)

    def trainer(self, run_id: str, device: str) -> int:
        node, _, kind = device.rpartition("/")
        folder = self.nodes / node / "seats" / kind.replace(":", "-") / "runs" / run_id
        pid = lock_holder(folder)
        assert pid
        return pid

    def others(self, run_id: str) -> list[str]:
        return self.row(run_id).other_devices or []

    def close(self) -> None:
        for worker in self.workers.values():
            worker.end()
        self.database.close()


@pytest.fixture(scope="module")
def starter() -> Iterator[Starter]:
    made = Starter()
    yield made
    made.close()


@pytest.fixture
def cluster(tmp_path: Path, few_shapes: Path, starter: Starter) -> Iterator[Cluster]:
    made = Cluster(tmp_path / "home", tmp_path / "nodes", few_shapes, starter, "a/cpu", "b/cpu")
    yield made
    made.close()


def tensors_of(folder: Path) -> dict[str, Tensor]:
    info = last_checkpoint(folder)
    assert info is not None
    return safetensors.torch.load_file(RunDir(folder).weights(info.step))


def steps_of(folder: Path) -> list[int]:
    """The steps of the training points, without those that a later attempt has replaced."""
    steps: list[int] = []
    for _, event in walk(folder):
        if event["e"] == "start":
            steps = [step for step in steps if step <= event["from_step"]]
        elif event["e"] == "metrics" and "train/loss" in event["v"]:
            steps.append(event["step"])
    return steps


def assert_each_step_once(cluster: Cluster, run_id: str) -> None:
    steps = steps_of(cluster.runs.folder(run_id))
    assert steps == sorted(set(steps))
    assert steps[-1] == cluster.row(run_id).step


def test_two_nodes_train_what_one_device_trains(cluster: Cluster) -> None:
    one, two = cluster.launch(**SHORT), cluster.launch(**SHORT, devices=2)
    assert [cluster.until_ended(run).status for run in (one, two)] == [Status.FINISHED] * 2
    row = cluster.row(two)
    assert {row.device, *cluster.others(two)} == {"a/cpu", "b/cpu"}
    assert (row.deaths, row.attempt, row.error) == (0, 1, None)
    ours, theirs = tensors_of(cluster.runs.folder(two)), tensors_of(cluster.runs.folder(one))
    for name, value in theirs.items():
        if name.startswith(("model.", "raw.")):
            torch.testing.assert_close(ours[name], value, rtol=0, atol=1e-6, msg=name)
    assert steps_of(cluster.runs.folder(two)) == steps_of(cluster.runs.folder(one))
    left = [path for node in ("a", "b") for path in (cluster.nodes / node / "seats" / "cpu" / "runs").iterdir()]
    wait_for(lambda: not any(path.exists() for path in left), 10, "the folders of the seats to be deleted")


def test_a_stopped_run_is_saved_and_resumed_on_as_many_devices(cluster: Cluster) -> None:
    run = cluster.launch(**LONG, devices=2)
    cluster.until_step(run, 5)
    cluster.runs.stop(run)
    stopped = cluster.until_ended(run)
    saved = last_checkpoint(cluster.runs.folder(run))
    assert saved is not None
    assert (stopped.status, saved.step) == (Status.STOPPED, stopped.step)
    cluster.runs.resume(run, ResumeRequest())
    cluster.until_step(run, stopped.step + 5, attempt=2)
    assert {cluster.row(run).device, *cluster.others(run)} == {"a/cpu", "b/cpu"}
    cluster.runs.stop(run)
    assert cluster.until_ended(run).status == Status.STOPPED
    assert_each_step_once(cluster, run)


@pytest.mark.parametrize("rank", [0, 1])
def test_a_killed_trainers_run_goes_on_as_a_whole(cluster: Cluster, rank: int) -> None:
    run = cluster.launch(**LONG, devices=2)
    cluster.until_step(run, 5)
    row = cluster.row(run)
    pids = [cluster.trainer(run, device) for device in (row.device or "", *cluster.others(run))]
    os.kill(pids[rank], signal.SIGKILL)
    cluster.until_step(run, row.step, attempt=2)
    assert cluster.row(run).deaths == 1
    assert not set(pids) & {cluster.trainer(run, device) for device in ("a/cpu", "b/cpu")}
    cluster.runs.stop(run)
    assert cluster.until_ended(run).status == Status.STOPPED
    assert_each_step_once(cluster, run)


def test_the_end_of_a_trainer_whose_machine_is_gone_is_no_death(cluster: Cluster) -> None:
    run = cluster.launch(**LONG, devices=2)
    cluster.until_step(run, 5)
    (other,) = cluster.others(run)
    cluster.seats[other].is_cut = True
    os.kill(cluster.trainer(run, other), signal.SIGKILL)
    cluster.until(lambda: cluster.row(run).status == Status.QUEUED or cluster.row(run).attempt == 2, "a new attempt")
    assert cluster.row(run).deaths == 0
    cluster.seats[other].is_cut = False
    cluster.until_step(run, cluster.row(run).step, attempt=2)
    cluster.runs.stop(run)
    cluster.until_ended(run)
    assert_each_step_once(cluster, run)


def test_a_machine_that_leaves_has_the_run_saved(cluster: Cluster) -> None:
    run = cluster.launch(**{**LONG, "checkpoint_minutes": 60}, devices=2)
    cluster.until_step(run, 5)
    (other,) = cluster.others(run)
    os.kill(cluster.trainer(run, other), signal.SIGTERM)
    cluster.until(lambda: cluster.row(run).status == Status.QUEUED, "the queue")
    row, saved = cluster.row(run), last_checkpoint(cluster.runs.folder(run))
    assert saved is not None
    assert (saved.step, row.deaths) == (row.step, 0)
    cluster.runs.stop(run)


def test_another_worker_goes_on_with_a_run_on_two_nodes(cluster: Cluster) -> None:
    """As after an outpost was restarted: the same trainers go on."""
    run = cluster.launch(**LONG, devices=2)
    cluster.until_step(run, 5)
    pids = [cluster.trainer(run, device) for device in ("a/cpu", "b/cpu")]
    for worker in cluster.workers.values():
        worker.held.clear()
        worker.end()
    with cluster.database.write() as session:
        row = session.exec(select(Run).where(Run.id == run)).one()
        row.worker = None
    for device in cluster.places:
        cluster.open(device)
    cluster.until_step(run, cluster.row(run).step + 20)
    assert [cluster.trainer(run, device) for device in ("a/cpu", "b/cpu")] == pids
    cluster.runs.stop(run)
    assert cluster.until_ended(run).status == Status.STOPPED
    assert_each_step_once(cluster, run)


def test_the_end_of_an_attempt_leaves_a_later_one_alone(cluster: Cluster) -> None:
    run = cluster.launch(**LONG, devices=2)
    cluster.until_step(run, 5)
    row = cluster.row(run)
    (other,) = cluster.others(run)
    pid = cluster.trainer(run, other)
    cluster.seats[other].end(run, row.claim, attempt=row.attempt - 1)
    assert cluster.trainer(run, other) == pid
    with pytest.raises(Refused):
        cluster.seats[other].end(run, row.claim - 1, attempt=row.attempt)
    cluster.runs.stop(run)
    cluster.until_ended(run)


def test_a_device_that_cannot_connect_to_the_first_one_is_named(cluster: Cluster) -> None:
    for seat in cluster.seats.values():
        seat.firewall = True
    run = cluster.launch(**SHORT, devices=2)
    row = cluster.until_ended(run)
    (other,) = cluster.others(run)
    assert row.status == Status.FAILED
    assert row.error is not None
    assert row.error["code"] == "ranks_not_met"
    assert row.error["message"].startswith(f"{other} cannot connect to 127.0.0.1, port ")
    assert "Connection refused" in row.error["detail"]


@pytest.mark.parametrize("device", ["a/cpu", "b/cpu"])
def test_a_trainer_that_dies_before_the_ranks_have_met_is_a_death(cluster: Cluster, device: str) -> None:
    cluster.seats[device].kills = 1
    run = cluster.launch(**SHORT, devices=2)
    row = cluster.until_ended(run)
    assert (row.status, row.attempt, row.deaths) == (Status.FINISHED, 2, 1)


@pytest.mark.long
@pytest.mark.timeout(600)
@pytest.mark.parametrize("seed", range(3))
def test_trainers_killed_at_random_lose_and_double_nothing(cluster: Cluster, seed: int) -> None:
    chance = random.Random(seed)
    run = cluster.launch(**LONG, devices=2)
    for attempt in range(1, 5):
        cluster.until_step(run, cluster.row(run).step + 1, attempt)
        ends = time.monotonic() + chance.uniform(0.0, 3.0)
        cluster.until(lambda: time.monotonic() > ends, "the moment")  # noqa: B023
        os.kill(cluster.trainer(run, chance.choice(["a/cpu", "b/cpu"])), signal.SIGKILL)
        with cluster.database.write() as session:
            row = session.exec(select(Run).where(Run.id == run)).one()
            row.deaths = 0
    cluster.until_step(run, cluster.row(run).step + 10, attempt=5)
    cluster.runs.stop(run)
    cluster.until_ended(run)
    assert_each_step_once(cluster, run)
