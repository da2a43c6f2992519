"""A worker ends a cancelled task, whatever its process does, and goes on with the next one."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from app.commands.reindex import reindex
from app.jobs.kinds import TASK
from app.jobs.tasks import Tasks
from app.settings import Settings
from app.storage.db import Database
from app.storage.tables import Status
from app.worker.job import ABANDON_SECONDS
from tests.app.jobs.test_queue_machine import NOBODY, Worker
from tests.databases import delete_database, settings_of
from trainer.rundir.events import EventWriter
from trainer.rundir.folder import TaskDir
from trainer.rundir.lock import lock_holder, take_lock
from trainer.spec.tasks import DatasetRequest

GRACE = 3.0


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return settings_of(tmp_path, stop_seconds=GRACE)


@pytest.fixture
def database(settings: Settings) -> Iterator[Database]:
    database = Database(settings.url)
    database.migrate()
    yield database
    database.close()


@pytest.fixture
def worker(settings: Settings, database: Database) -> Iterator[Worker]:
    worker = Worker(settings, database)
    yield worker
    worker.die()


@pytest.fixture
def tasks(settings: Settings, database: Database) -> Tasks:
    return Tasks(database, settings)


def queue(tasks: Tasks, name: str) -> str:
    folder = tasks.new_folder()
    upload = TaskDir(folder).upload
    upload.write_bytes(b"zip")
    return tasks.create(folder, DatasetRequest(name=name, source=str(upload), label="x.zip")).id


def test_a_process_that_does_not_end_is_left_and_the_next_task_starts(
    settings: Settings, tasks: Tasks, worker: Worker
) -> None:
    """The lock stays held whatever the worker signals: as by a process in an uninterruptible read."""
    stuck, waits = queue(tasks, "stuck"), queue(tasks, "waits")
    worker.look()
    folder = settings.tasks / stuck
    take_lock(folder)
    TaskDir(folder).lock.write_text(str(NOBODY))
    assert worker.held[TASK].job.id == stuck
    assert tasks.cancel(stuck).status == Status.STOPPING
    worker.refresh()
    times = (0.0, GRACE - 0.1, GRACE + 0.1, GRACE + ABANDON_SECONDS)
    for now in times:
        worker._follow_all(now)
        assert tasks.get(stuck).status == Status.STOPPING, now
    worker._follow_all(GRACE + ABANDON_SECONDS + 0.2)
    assert tasks.get(stuck).status == Status.STOPPED
    assert lock_holder(folder) is not None
    assert not TaskDir(folder).upload.exists()
    worker.look()
    assert worker.held[TASK].job.id == waits
    tasks.delete(stuck)
    assert not folder.exists()


def test_a_cancel_survives_the_worker_and_the_database(
    settings: Settings, database: Database, tasks: Tasks, worker: Worker
) -> None:
    cancelled = queue(tasks, "mine")
    worker.look()
    tasks.cancel(cancelled)
    other = Worker(settings, database)
    worker.process.kill()
    worker.process.wait()
    other.look()  # adopts it
    assert other.held[TASK].job.status == Status.STOPPING
    other._follow_all(0.0)
    assert tasks.get(cancelled).status == Status.STOPPED
    other.look()
    assert TASK not in other.held
    other.die()

    delete_database(settings)
    database.close()
    assert [item.status for item in reindex(settings)] == [Status.STOPPED]


def test_a_cancel_that_comes_too_late_changes_nothing(settings: Settings, tasks: Tasks, worker: Worker) -> None:
    task = queue(tasks, "mine")
    worker.look()
    events = EventWriter(settings.tasks / task, 1)
    events.emit("begin", attempt=1)
    events.emit("end", reason="finished", step=None, summary={}, error=None, result={"dataset": "mine"})
    events.close()
    tasks.cancel(task)
    worker.refresh()
    worker._follow_all(0.0)
    assert tasks.get(task).status == Status.FINISHED


def test_a_task_whose_folder_is_gone_can_be_cancelled_and_deleted(
    settings: Settings, tasks: Tasks, worker: Worker
) -> None:
    task = queue(tasks, "mine")
    shutil.rmtree(settings.tasks / task)
    assert tasks.cancel(task).status == Status.STOPPED
    tasks.delete(task)
    worker.look()
    assert TASK not in worker.held
