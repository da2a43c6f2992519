"""Claims of runs on several devices, on both databases."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from app.host.identity import host_name, worker_id
from app.host.workers import most_devices, seen_workers
from app.jobs.claims import claim_next
from app.jobs.gangs import Pool
from app.jobs.kinds import RUN
from app.runs.queue import Queue
from app.settings import Settings
from app.storage.db import Database
from app.storage.tables import Run, Status, Worker
from app.storage.transitions import move
from tests.postgres import needs_postgres, postgres
from trainer.rundir.folder import RunDir


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=needs_postgres)])
def stored(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    if request.param == "sqlite":
        database = Database(f"sqlite:///{tmp_path / 'trackside.db'}")
        database.migrate()
        yield database
        database.close()
        return
    with postgres() as server:
        database = Database(server.new_database())
        database.migrate()
        yield database
        database.close()


def queue(database: Database, *devices: int) -> None:
    with database.write() as session:
        for number, count in enumerate(devices):
            session.add(Run(id=f"of {count}", name="", dataset="d", model="m", spec={}, devices=count, place=number))


def connect(database: Database, *devices: str, ready: bool = True) -> None:
    with database.write() as session:
        for name in devices:
            session.add(Worker(id=worker_id(name), host=host_name(), pid=os.getpid(), device=name, ready=ready))


def claim(database: Database, device: str) -> Run | None:
    with database.write() as session:
        found = claim_next(session, RUN, worker_id(device), device, 60)
    assert found is None or isinstance(found, Run)
    return found


def test_a_run_takes_the_devices_of_other_workers(stored: Database) -> None:
    connect(stored, "cuda:0", "cuda:1", "cuda:10", "cpu")
    connect(stored, "cuda:3", ready=False)
    queue(stored, 4, 2, 1, 3)
    assert most_devices(seen_workers(stored)) == 3

    first = claim(stored, "cuda:1")  # there are no four devices of a kind that are ready
    assert first is not None
    assert (first.id, first.device, first.other_devices) == ("of 2", "cuda:1", ["cuda:0"])
    assert claim(stored, "cuda:0") is None  # lent
    second = claim(stored, "cuda:10")
    assert second is not None
    assert (second.id, second.other_devices) == ("of 1", None)
    assert claim(stored, "cpu") is None  # it has one device of its kind
    used = {worker.device: worker.run for worker in seen_workers(stored)}
    assert [used[name] for name in ("cuda:0", "cuda:1", "cuda:3")] == ["of 2", "of 2", None]


def test_free_devices_are_kept_for_the_first_run(stored: Database) -> None:
    connect(stored, "cuda:0", "cuda:1")
    queue(stored, 1)
    running = claim(stored, "cuda:0")
    assert running is not None
    queue(stored, 2)
    with stored.write() as session:
        session.add(Run(id="later", name="", dataset="d", model="m", spec={}, place=9.0))
    assert claim(stored, "cuda:1") is None  # it waits for the other device, and the run behind it does too
    with stored.write() as session:
        move(session, running, Status.STOPPED)
    found = claim(stored, "cuda:1")
    assert found is not None
    assert (found.id, found.other_devices) == ("of 2", ["cuda:0"])


def test_a_run_that_starts_now_pauses_as_many_runs_as_have_its_devices(stored: Database, tmp_path: Path) -> None:
    names = [f"cuda:{number}" for number in range(4)]
    connect(stored, *names)
    settings = Settings(home=tmp_path / "home")
    with stored.write() as session:
        for number in range(3):
            running: dict[str, Any] = {"status": Status.RUNNING, "device": names[number], "host": host_name()}
            session.add(Run(id=f"run{number}", name="", dataset="d", model="m", spec={}, place=number, **running))
        session.add(Run(id="wide", name="", dataset="d", model="m", spec={}, devices=3, place=9.0))
    for name in ("run0", "run1", "run2", "wide"):
        (settings.runs / name).mkdir(parents=True)
    Queue(stored, settings).move("wide", "now")  # one of four devices is idle
    paused = [RunDir(settings.runs / f"run{number}").pause.exists() for number in range(3)]
    assert paused == [False, True, True]


def pool(own: str, free: list[str], taken: list[str] | None = None, lent: list[str] | None = None) -> Pool:
    used = taken or []
    return Pool(own, frozenset([*free, *used]), frozenset(used), frozenset(lent or []))


FREE = ["a/cuda:0", "b/cuda:0", "b/cuda:1", "b/cuda:10", "b/cuda:2", "c/cuda:0", "c/cuda:1"]


@pytest.mark.parametrize(
    ("own", "count", "others"),
    [
        ("a/cuda:0", 1, []),
        ("b/cuda:10", 3, ["b/cuda:0", "b/cuda:1"]),  # of its own node
        ("b/cuda:2", 2, ["b/cuda:0"]),
        ("a/cuda:0", 2, None),  # node b has two: its worker claims the run
        ("c/cuda:0", 2, None),  # as above: the node with the most free devices is asked first
        ("b/cuda:0", 5, ["b/cuda:1", "b/cuda:2", "b/cuda:10", "c/cuda:0"]),
        ("c/cuda:0", 5, ["b/cuda:0", "b/cuda:1", "b/cuda:2", "b/cuda:10"]),
        ("a/cuda:0", 6, None),
        ("a/cuda:0", 7, ["b/cuda:0", "b/cuda:1", "b/cuda:2", "b/cuda:10", "c/cuda:0", "c/cuda:1"]),
        ("a/cuda:0", 8, None),
    ],
)
def test_devices_of_few_nodes_are_chosen(own: str, count: int, others: list[str] | None) -> None:
    assert pool(own, FREE).others_for(count) == others


def test_some_worker_of_free_devices_claims_a_run_of_any_size() -> None:
    """It does not happen that each leaves it to another one."""
    for count in range(2, len(FREE) + 1):
        chosen = {own: pool(own, FREE).others_for(count) for own in FREE}
        assert any(others is not None and len(others) == count - 1 for others in chosen.values()), count


def test_taken_devices_are_not_chosen() -> None:
    assert pool("a/cpu", ["a/cpu", "b/cpu"], ["a/cpu:1"]).others_for(2) == ["b/cpu"]
    assert pool("a/cpu", ["b/cpu", "c/cpu"], ["a/cpu"]).others_for(2) is None
    assert pool("a/cpu", ["b/cpu"], ["a/cpu"], ["a/cpu"]).others_for(1) is None


def connect_nodes(database: Database, *devices: str, ready: bool = True) -> None:
    with database.write() as session:
        for name in devices:
            node = name.split("/")[0]
            session.add(Worker(id=worker_id(name), host=node, pid=os.getpid(), device=name, ready=ready))


def test_a_run_takes_the_devices_of_nodes_and_none_of_this_machine(stored: Database) -> None:
    connect(stored, "cuda:0")
    connect_nodes(stored, "a/cuda:0", "b/cuda:0", "b/cpu")
    connect_nodes(stored, "c/cuda:0", ready=False)
    queue(stored, 3, 2)
    assert most_devices(seen_workers(stored)) == 2
    assert claim(stored, "cuda:0") is None  # this machine has one device
    found = claim(stored, "a/cuda:0")
    assert found is not None
    assert (found.id, found.device, found.other_devices) == ("of 2", "a/cuda:0", ["b/cuda:0"])
    queue_one(stored, "single")
    assert claim(stored, "b/cuda:0") is None  # lent
    used = {worker.device: worker.run for worker in seen_workers(stored)}
    assert used == {"cuda:0": None, "a/cuda:0": "of 2", "b/cuda:0": "of 2", "b/cpu": None, "c/cuda:0": None}
    assert claim(stored, "cuda:0") is not None


def queue_one(database: Database, name: str) -> None:
    with database.write() as session:
        session.add(Run(id=name, name="", dataset="d", model="m", spec={}, place=9.0))
