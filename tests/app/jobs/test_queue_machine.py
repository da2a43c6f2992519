"""The queue under anything that may happen in any order: workers that sleep, die and come back, and a clock that jumps.

The workers are the real loops but for the fork: what a trainer would write into its event file is written here. `make
fuzz` tries more: TRACKSIDE_TEST_EXAMPLES.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from datetime import timedelta
from pathlib import Path
from typing import Any, cast

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from sqlmodel import select

from app.commands.reindex import reindex
from app.errors import ApiError
from app.host.identity import is_alive, worker_id
from app.jobs.kinds import RUN
from app.jobs.tail import is_behind
from app.metrics.reader import Metrics
from app.runs.launching import Launcher
from app.runs.queue import Move, Queue
from app.runs.requests import NewRun, ResumeRequest
from app.runs.runs import Runs
from app.settings import Settings
from app.storage.db import Database
from app.storage.tables import ACTIVE, ENDED, Job, Run, Status, now
from app.storage.tables import Worker as WorkerRow
from app.storage.transitions import LostClaim
from app.worker.executor import LocalExecutor, LocalTrainer, Trainer
from app.worker.job import HeldJob
from app.worker.loop import WorkerLoop
from tests.databases import ON_POSTGRES, delete_database, settings_of
from trainer.process.assignment import Assignment, TaskAssignment
from trainer.rundir.events import EventWriter, attempts

EXAMPLES = int(os.environ.get("TRACKSIDE_TEST_EXAMPLES", "12"))
pytestmark = pytest.mark.timeout(30 * EXAMPLES)  # four seconds per example on an idle machine

MAX_ATTEMPTS = 3
LEASE_SECONDS = 15.0
NOBODY = 2**22 + 1  # no process has such a number
START: dict[str, Any] = {"total_steps": 100, "steps_per_epoch": 10, "epochs": 10, "val_count": 9}
CHOICE = st.integers(0, 9)


@contextmanager
def refused() -> Iterator[None]:
    with pytest.raises(ApiError) as caught:
        yield
    assert caught.value.status == 409


class NoTrainers(LocalExecutor):
    """Says that a trainer was started; the test writes its events."""

    def begin(self, job: Job, assignment: Assignment | TaskAssignment) -> Trainer:
        folder = Path(assignment.run_dir)
        EventWriter(folder, assignment.attempt).close()
        return LocalTrainer(folder, NOBODY, 0.0)


class Worker(WorkerLoop):
    """A worker's loop whose process is another one, so that it can be killed."""

    def __init__(self, settings: Settings, database: Database, device: str = "cpu") -> None:
        super().__init__(settings, database, device, NoTrainers())
        self.process = subprocess.Popen(["sleep", "600"])
        self.id = worker_id(device, self.process.pid)

    @property
    def run_held(self) -> HeldJob | None:
        return self.held.get(RUN)

    def look(self) -> None:
        self.find_work(0.0)
        self.refresh()

    def read(self) -> None:
        """Ingest all that there is, or let go."""
        while (held := self.run_held) is not None and is_behind(held.job, held.folder):
            try:
                if held.ingest():
                    del self.held[RUN]
            except LostClaim:
                self.refresh()

    def reap(self) -> None:
        """See to a trainer that has exited."""
        self.read()
        held = self.run_held
        if held is not None and held.follow(0.0):
            self.held.pop(RUN, None)

    def die(self) -> None:
        self.process.kill()
        self.process.wait()
        self._hint.close()


class QueueMachine(RuleBasedStateMachine):
    datasets: Path  # a folder with shapes100
    empty: Path  # a database without rows
    devices: tuple[str, ...] = ("cpu", "cpu")  # of the workers

    @initialize()
    def begin(self) -> None:
        self.home = Path(tempfile.mkdtemp())
        (self.home / "datasets").symlink_to(self.datasets)
        self.settings = settings_of(self.home, max_attempts=MAX_ATTEMPTS, lease_seconds=LEASE_SECONDS)
        if not ON_POSTGRES:
            shutil.copy(self.empty, self.home / "trackside.db")
        self.accepted: list[str] = []
        self.claims: dict[str, int] = {}
        self.truth: defaultdict[str, dict[int, float]] = defaultdict(dict)
        self.open()
        self.workers = [self.new_worker(device) for device in self.devices]

    def new_worker(self, device: str) -> Worker:
        return Worker(self.settings, self.database, device)

    def open(self) -> None:
        self.database = Database(self.settings.url)
        self.database.migrate()
        self.runs = Runs(self.database, self.settings)

    def teardown(self) -> None:
        if hasattr(self, "workers"):
            for worker in self.workers:
                worker.die()
            self.database.close()
            shutil.rmtree(self.home)

    def rows(self) -> dict[str, Run]:
        with self.database.read() as session:
            return {row.id: row for row in session.exec(select(Run)).all()}

    def worker(self, number: int) -> Worker:
        return self.workers[number % len(self.workers)]

    # What people do.

    @precondition(lambda self: len(self.accepted) < 4)
    @rule(priority=st.integers(-1, 1))
    def enqueue(self, priority: int) -> None:
        request = NewRun(dataset="shapes100", preset="baseline-cnn", priority=priority)
        self.accepted.append(Launcher(self.database, self.settings).create(request).id)

    @precondition(lambda self: self.accepted)
    @rule(number=CHOICE, what=st.sampled_from(["stop", "resume", "next", "up", "down", "now", "delete"]))
    def steer(self, number: int, what: str) -> None:
        run_id = self.accepted[number % len(self.accepted)]
        before = Status(self.rows()[run_id].status)
        if what == "delete" and before not in ACTIVE:
            self.accepted.remove(run_id)
        allowed = {"stop": (*ACTIVE[:2], Status.QUEUED), "resume": ENDED[1:], "delete": (*ENDED, Status.QUEUED)}
        with nullcontext() if before in allowed.get(what, (Status.QUEUED,)) else refused():
            match what:
                case "stop":
                    self.runs.stop(run_id)
                case "resume":
                    self.runs.resume(run_id, ResumeRequest())
                case "delete":
                    self.runs.delete(run_id)
                case _:
                    Queue(self.database, self.settings).move(run_id, cast(Move, what))

    # What workers and trainers do.

    @rule(number=CHOICE)
    def look_for_work(self, number: int) -> None:
        worker, before = self.worker(number), self.rows()
        idle = worker.run_held is None
        queued = [row for row in before.values() if row.status == Status.QUEUED]
        first = min(queued, key=lambda row: (-row.priority, row.place, row.key), default=None)
        left = [row.id for row in before.values() if row.status in ACTIVE and row.worker != worker.id]
        worker.look()
        if idle and worker.run_held is not None:
            taken = before[worker.run_held.job.id]
            assert taken.id in left or (first is not None and taken.id == first.id)
        elif idle and not left:
            assert first is None, "there was work, and nobody took it"

    @rule(number=CHOICE, what=st.sampled_from([Worker.beat, Worker.read, Worker.reap]))
    def go_on(self, number: int, what: Callable[[Worker], None]) -> None:
        """Each thing that a worker does with what it holds; one that has lost its claim lets go and writes nothing."""
        worker, before = self.worker(number), self.rows()
        held = worker.run_held
        now = before.get(held.job.id) if held is not None else None
        lost = held is not None and (now is None or now.claim != held.job.claim)
        idle = what is Worker.read and held is not None and not is_behind(held.job, held.folder)
        what(worker)
        if lost:
            assert self.rows() == before
            assert idle or worker.run_held is None

    @precondition(lambda self: any(worker.run_held for worker in self.workers))
    @rule(number=CHOICE, back=st.integers(0, 3), steps=st.integers(1, 4))
    def train(self, number: int, back: int, steps: int) -> None:
        """The newest trainer of a run goes on; a fresh one starts some steps back."""
        worker = self.worker(number)
        if worker.run_held is None:
            return
        folder = worker.run_held.folder
        newest, known = max(attempts(folder)), self.truth[folder.name]
        events = EventWriter(folder, newest)
        if not events.path.stat().st_size:
            at = max(0, max(known, default=0) - back)
            events.emit("start", from_step=at, **START, device=worker.device)
            self.truth[folder.name] = known = {step: value for step, value in known.items() if step <= at}
            events.emit("phase", phase="training")
        for step in range(max(known, default=0) + 1, max(known, default=0) + 1 + steps):
            known[step] = newest + step / 1000
            events.metrics(step, {"train/loss": known[step]})
        events.close()

    @precondition(lambda self: any(worker.run_held for worker in self.workers))
    @rule(number=CHOICE, reason=st.sampled_from(["finished", "failed", "interrupted", "orphaned"]))
    def end(self, number: int, reason: str) -> None:
        """A trainer says its last words, which whoever holds the run reads."""
        worker = self.worker(number)
        self.train(number, 0, 1)
        if worker.run_held is None:
            return
        events = EventWriter(worker.run_held.folder, max(attempts(worker.run_held.folder)))
        error = {"code": "trainer_error", "message": "no", "detail": None} if reason == "failed" else None
        events.emit("end", reason=reason, step=1, summary={}, error=error)
        events.close()
        for each in self.workers:
            each.read()

    @precondition(lambda self: self.accepted)
    @rule(number=CHOICE)
    def a_superseded_trainer_writes(self, number: int) -> None:
        row = self.rows()[self.accepted[number % len(self.accepted)]]
        if row.tail_attempt > 1:
            stale = EventWriter(self.runs.folder(row.id), row.tail_attempt - 1)
            stale.metrics(1, {"train/loss": -1.0})
            stale.close()

    # What befalls them.

    @rule(number=CHOICE)
    def a_worker_is_killed(self, number: int) -> None:
        worker = self.worker(number)
        worker.die()
        assert not is_alive(worker.id)
        self.workers[self.workers.index(worker)] = self.new_worker(worker.device)

    @rule(number=CHOICE, what=st.sampled_from([Worker.beat, Worker.read, Worker.reap]))
    def a_worker_sleeps_past_its_lease(self, number: int, what: Callable[[Worker], None]) -> None:
        self.the_clock_jumps(20)
        self.worker(number + 1).look()
        self.go_on(number, what)

    @rule(number=CHOICE, times=st.integers(1, MAX_ATTEMPTS))
    def trainers_die(self, number: int, times: int) -> None:
        for _ in range(times):
            self.look_for_work(number)
            self.go_on(number, Worker.reap)

    @rule(seconds=st.sampled_from([-3600, -20, 20, 3600]))
    def the_clock_jumps(self, seconds: int) -> None:
        with self.database.write() as session:
            for row in session.exec(select(Run)).all():
                if row.lease_until is not None:
                    row.lease_until -= timedelta(seconds=seconds)

    @rule()
    def all_are_killed_and_the_database_is_lost(self) -> None:
        before = self.rows()
        for worker in self.workers:
            worker.die()
        self.database.close()
        delete_database(self.settings)
        assert not [item for item in reindex(self.settings) if item.damaged]
        self.open()
        self.claims.clear()
        self.workers = [self.new_worker(device) for device in self.devices]
        for run_id, row in self.rows().items():
            was = before[run_id]
            if is_behind(was, self.runs.folder(run_id)):
                continue  # more was known on the disk than in the database
            expected = {"starting": "queued", "running": "queued", "stopping": "stopped"}.get(was.status, was.status)
            assert row.status == expected

    # What always holds.

    @invariant()
    def no_run_is_lost_and_none_has_two_masters(self) -> None:
        rows = self.rows()
        assert rows.keys() == set(self.accepted)
        for run_id, row in rows.items():
            held = [each.run_held.job for each in self.workers if each.run_held is not None]
            masters = [job for job in held if (job.id, job.claim) == (run_id, row.claim)]
            assert len(masters) <= (row.status in ACTIVE), f"{run_id} is {row.status} and held by {len(masters)}"
            assert row.claim >= self.claims.get(run_id, 0)
            self.claims[run_id] = row.claim
            assert row.deaths < MAX_ATTEMPTS or row.status == Status.FAILED
            assert (row.finished_at is not None) == (row.status in ENDED)
            assert row.pid is None or row.status in ACTIVE

    @invariant()
    def what_is_read_is_what_was_written(self) -> None:
        for run_id, row in self.rows().items():
            if is_behind(row, self.runs.folder(run_id)):
                continue
            series = Metrics(self.database).read(run_id, ["train/loss"])["series"]
            stored = series["train/loss"] if series else {"step": [], "value": []}
            assert dict(zip(stored["step"], stored["value"], strict=True)) == self.truth[run_id]


class DevicesMachine(QueueMachine):
    """Workers of three devices, and runs on one to four of them."""

    devices = ("cpu:0", "cpu:1", "cpu:2")

    def new_worker(self, device: str) -> Worker:
        worker = super().new_worker(device)
        worker.beat()
        return worker

    @precondition(lambda self: len(self.accepted) < 6)
    @rule(priority=st.integers(-1, 1), devices=st.integers(1, 4))
    def enqueue_on_several(self, priority: int, devices: int) -> None:
        changes = {"devices": devices, "batch_size": 60}
        request = NewRun(dataset="shapes100", preset="baseline-cnn", priority=priority, overrides=changes)
        self.accepted.append(Launcher(self.database, self.settings).create(request).id)

    @rule(order=st.permutations(range(3)), devices=st.integers(1, 3))
    def all_look(self, order: list[int], devices: int) -> None:
        if len(self.accepted) < 6:
            self.enqueue_on_several(0, devices)
        for number in order:
            self.look_for_work(number)

    @rule(number=CHOICE)
    def look_for_work(self, number: int) -> None:
        """The first run that this machine has enough devices for starts as soon as they are free, and none before."""
        self.all_are_seen()
        worker, before = self.worker(number), self.rows()
        idle = worker.run_held is None
        left = [row.id for row in before.values() if row.status in ACTIVE and row.device == worker.device]
        queued = [row for row in before.values() if row.status == Status.QUEUED and row.devices <= len(self.devices)]
        first = min(queued, key=lambda row: (-row.priority, row.place, row.key), default=None)
        free = set(self.devices) - {device for device, _ in self.used(before)}
        worker.look()
        held = worker.run_held
        if not idle or left:
            assert held is None or not idle or held.job.id in left
        elif first is None or worker.device not in free or len(free) < first.devices:
            assert held is None
        else:
            assert held is not None
            assert held.job.id == first.id
            assert {*self.used_by(self.rows()[first.id])} <= free

    def all_are_seen(self) -> None:
        """As by the heartbeats of workers that are alive."""
        with self.database.write() as session:
            for row in session.exec(select(WorkerRow)).all():
                row.seen_at = now()

    def used(self, rows: dict[str, Run]) -> list[tuple[str, str]]:
        active = [row for row in rows.values() if row.status in ACTIVE]
        return [(device, row.id) for row in active for device in self.used_by(row)]

    def used_by(self, row: Run) -> list[str]:
        return [device for device in (row.device, *(row.other_devices or [])) if device is not None]

    @invariant()
    def no_device_has_two_runs(self) -> None:
        rows = self.rows()
        used = self.used(rows)
        assert len({device for device, _ in used}) == len(used), used
        for row in rows.values():
            assert row.status not in ACTIVE or len(self.used_by(row)) == row.devices


@pytest.fixture(autouse=True, scope="module")
def prepared(shapes: Path, empty_database: Path) -> None:
    QueueMachine.datasets, QueueMachine.empty = shapes, empty_database


TestQueue = QueueMachine.TestCase
TestQueue.settings = settings(max_examples=EXAMPLES, stateful_step_count=50, deadline=None)
TestDevices = DevicesMachine.TestCase
TestDevices.settings = settings(max_examples=max(1, EXAMPLES // 2), stateful_step_count=50, deadline=None)
