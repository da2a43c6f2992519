"""The sweep at the start of `trackside serve`: what killed processes left is deleted, and nothing else."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlmodel import select

from app.jobs.remains import sweep
from app.jobs.tasks import Tasks
from app.settings import Settings
from app.storage.db import Database
from app.storage.tables import Status, Task
from tests.databases import settings_of
from trainer.rundir.folder import TaskDir
from trainer.spec.tasks import DatasetRequest


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return settings_of(tmp_path)


@pytest.fixture
def tasks(settings: Settings) -> Iterator[Tasks]:
    database = Database(settings.url)
    database.migrate()
    yield Tasks(database, settings)
    database.close()


def uploaded(tasks: Tasks) -> Path:
    """The folder of a task that will be made, with its upload."""
    folder = tasks.new_folder()
    TaskDir(folder).upload.write_bytes(b"zip")
    return folder


def queue(tasks: Tasks, status: Status) -> Path:
    folder = uploaded(tasks)
    tasks.create(folder, DatasetRequest(name="x", source=str(TaskDir(folder).upload), label="x.zip"))
    with tasks.database.write() as session:
        session.exec(select(Task).where(Task.id == folder.name)).one().status = status
    return folder


def test_uploads_that_became_no_task_are_deleted(settings: Settings, tasks: Tasks) -> None:
    kept = {queue(tasks, status) for status in (Status.QUEUED, Status.RUNNING, Status.FAILED, Status.FINISHED)}
    cancelled, unknown, half = queue(tasks, Status.STOPPED), queue(tasks, Status.FAILED), uploaded(tasks)
    with tasks.database.write() as session:  # as in a database that was lost: `trackside reindex` brings it back
        session.delete(session.exec(select(Task).where(Task.id == unknown.name)).one())
    sweep(settings, tasks.database)
    assert set(settings.tasks.iterdir()) == {*kept, cancelled, unknown}
    for folder in (*kept, unknown):
        assert TaskDir(folder).upload.exists()
    assert not TaskDir(cancelled).upload.exists()
    assert not half.exists()


def test_what_was_being_deleted_is_gone(settings: Settings, tasks: Tasks, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "image").write_bytes(b"x")
    for root in (settings.runs, settings.tasks, settings.datasets):
        (root / ".deleted-a" / "deep").mkdir(parents=True)
        (root / ".deleted-a" / "deep" / "file").write_bytes(b"x")
        (root / ".deleted-b").symlink_to(elsewhere)
        (root / "kept").mkdir()
        (root / "kept" / "committed").touch()
    sweep(settings, tasks.database)
    for root in (settings.runs, settings.tasks, settings.datasets):
        assert [path.name for path in root.iterdir()] == ["kept"]
    assert (elsewhere / "image").exists()


def test_a_new_home_has_nothing_to_sweep(settings: Settings, tasks: Tasks) -> None:
    sweep(settings, tasks.database)
    assert not settings.tasks.exists()
