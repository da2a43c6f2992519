"""Runs on a seat whose folder is another one than the home, trained by real trainers, in the worker's loop."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import safetensors.torch
import torch
import torchvision
from sqlmodel import select

from app.host.gpu_test import DeviceTest
from app.jobs.kinds import RUN
from app.runs.launching import Launcher
from app.runs.requests import NewRun
from app.runs.runs import Runs
from app.storage.db import Database
from app.storage.tables import ENDED, Run, Status
from app.worker.executor import LocalExecutor
from app.worker.gang import Place
from app.worker.loop import WorkerLoop
from app.worker.remote import RemoteExecutor
from tests.conftest import wait_for
from tests.databases import settings_of
from trainer.node.calls import Beginning
from trainer.node.seat import Seat
from trainer.process.assignment import AnyAssignment
from trainer.process.starter import Starter
from trainer.rundir.checkpoints import list_checkpoints
from trainer.rundir.folder import RunDir


class Installation:
    """A home with a worker for one seat, which is in the same process."""

    def __init__(self, home: Path, node: Path, shapes: Path) -> None:
        home.mkdir()
        (home / "datasets").symlink_to(shapes)
        self.settings = settings_of(home, stop_seconds=20.0)
        self.database = Database(self.settings.url)
        self.database.migrate()
        self.runs = Runs(self.database, self.settings)
        self.node, self.starter = node, Starter()
        self.open()

    def open(self, seat: type[Seat] = Seat) -> None:
        self.seat = seat(self.node, "0", "cpu", self.starter)
        place, others = Place("node/cpu", self.seat, threading.Lock()), dict[str, Place]()
        executor = RemoteExecutor(self.settings, place, others.__getitem__)
        self.worker = WorkerLoop(self.settings, self.database, "node/cpu", executor, DeviceTest("cpu"))

    def open_at_home(self) -> None:
        self.worker.end()
        self.worker = WorkerLoop(self.settings, self.database, "cpu", LocalExecutor(), DeviceTest("cpu"))

    def launch(self, **body: object) -> str:
        return Launcher(self.database, self.settings).create(NewRun.model_validate(body)).id

    def until(self, condition: Callable[[], object], seconds: float = 90.0) -> None:
        def ticked() -> object:
            self.worker.tick(time.monotonic())
            return condition()

        wait_for(ticked, seconds)

    def row(self, run_id: str) -> Run:
        with self.database.read() as session:
            return session.exec(select(Run).where(Run.id == run_id)).one()


class Elsewhere(Seat):
    """As on another machine, which has not the home's files: they are away when a trainer begins."""

    hidden: Path

    def begin(self, what: Beginning) -> int | None:
        self.hidden.unlink()
        return super().begin(what)


class UnableAtFirst(Starter):
    """Cannot fork the first trainer, as where memory is short."""

    failures = 1

    def start(self, assignment: AnyAssignment) -> int | None:
        if self.failures:
            self.failures -= 1
            return None
        return super().start(assignment)


@pytest.fixture
def installation(tmp_path: Path, few_shapes: Path) -> Iterator[Installation]:
    made = Installation(tmp_path / "home", tmp_path / "node", few_shapes)
    yield made
    made.worker.end()
    made.starter.close()
    made.database.close()


def test_a_run_is_trained_on_a_seat_as_at_home(installation: Installation) -> None:
    run_id = installation.launch(dataset="shapes100", preset="baseline-cnn", overrides={"epochs": 2})
    installation.until(lambda: installation.row(run_id).status in ENDED)
    row = installation.row(run_id)
    assert (row.status, row.device, row.deaths, row.error) == (Status.FINISHED, "node/cpu", 0, None)
    folder = installation.runs.folder(run_id)
    assert {info.step for info in list_checkpoints(folder)}
    wait_for(lambda: not list((installation.node / "seats" / "0" / "runs").iterdir()) or None, 10, "the seat's folder")
    assert RunDir(folder).events(1).stat().st_size
    assert RUN not in installation.worker.held


@pytest.mark.parametrize(
    "overrides",
    [
        {"epochs": 2},
        {
            "epochs": 2,
            "model.name": "torchvision:mobilenet_v3_large",
            "model.weights": "own.pth",
            "model.freeze": True,
            "model.input_size": 32,
        },
    ],
    ids=["own network", "frozen backbone"],
)
def test_a_seat_leaves_the_files_and_values_of_home(
    installation: Installation, few_shapes: Path, overrides: dict[str, object]
) -> None:
    if "model.weights" in overrides:
        installation.settings.weights.mkdir()
        torch.save(torchvision.models.mobilenet_v3_large().state_dict(), installation.settings.weights / "own.pth")
    found = []
    for at_home in (False, True):
        if at_home:
            installation.open_at_home()
        run_id = installation.launch(dataset="shapes100", preset="baseline-cnn", overrides=overrides)
        installation.until(lambda run_id=run_id: installation.row(run_id).status in ENDED)  # type: ignore[misc]
        row, folder = installation.row(run_id), installation.runs.folder(run_id)
        assert row.status == Status.FINISHED, row.error
        files = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
        found.append(
            (files, {name: row.summary.get(name) for name in ("val/acc", "val/loss", "test/acc", "test/loss")})
        )
    (of_seat, values), (of_home, same) = found
    # The node keeps the features. A trainer that printed nothing leaves an empty output at home.
    assert of_home - of_seat <= {"artifacts/features.safetensors", "owner", "output.log"}
    assert of_seat <= of_home
    assert values == same


def test_a_run_that_a_seat_cannot_begin_is_queued_again(installation: Installation) -> None:
    """It has not failed, and its trainer has not died: another device may train it."""
    installation.starter = UnableAtFirst()
    installation.open()
    run_id = installation.launch(dataset="shapes100", preset="baseline-cnn", overrides={"max_steps": 5})
    installation.until(lambda: installation.row(run_id).status in ENDED)
    row = installation.row(run_id)
    assert (row.status, row.attempt, row.deaths, row.error) == (Status.FINISHED, 2, 0, None)


def test_a_file_of_weights_is_sent(installation: Installation) -> None:
    network = torchvision.models.mobilenet_v3_large()
    with torch.no_grad():
        network.features[0][0].weight.fill_(0.125)
    file = installation.settings.weights / "own.pth"
    file.parent.mkdir()
    torch.save(network.state_dict(), file)
    installation.open(Elsewhere)
    installation.seat.hidden = file  # type: ignore[attr-defined]
    model = {"model.name": "torchvision:mobilenet_v3_large", "model.weights": file.name, "model.freeze": True}
    changed = model | {"model.input_size": 32, "max_steps": 3, "checks": "off", "augment.resolutions": []}
    run_id = installation.launch(dataset="shapes100", preset="baseline-cnn", overrides=changed)
    installation.until(lambda: installation.row(run_id).status in ENDED)
    row = installation.row(run_id)
    assert (row.status, row.error) == (Status.FINISHED, None), row.error
    folder = installation.runs.folder(run_id)
    assert not RunDir(folder).sent_weights.exists(), "it stays on the node"
    info = list_checkpoints(folder)[-1]
    tensors = safetensors.torch.load_file(RunDir(folder).weights(info.step))
    first = next(tensor for name, tensor in tensors.items() if name.endswith("features.0.0.weight"))
    assert torch.equal(first, torch.full_like(first, 0.125))
