"""What killed processes have left in the home, deleted when `trackside serve` starts and no web process writes."""

from __future__ import annotations

from sqlmodel import select

from app.jobs.task_files import free_cancelled
from app.settings import Settings
from app.storage.db import Database
from app.storage.tables import Status, Task
from trainer.rundir.folder import TaskDir
from trainer.system.durable import remove_folder, remove_set_aside


def sweep(settings: Settings, database: Database) -> None:
    """Delete what was being deleted, uploads that never became a task, and what cancelled tasks have kept."""
    for root in (settings.runs, settings.tasks, settings.datasets):
        remove_set_aside(root)
    with database.read() as session:
        statuses = dict(session.exec(select(Task.id, Task.status)).all())
    for folder in settings.tasks.glob("*"):
        if statuses.get(folder.name) == Status.STOPPED:
            free_cancelled(folder, settings.datasets)
        elif folder.name not in statuses and not TaskDir(folder).committed.exists():
            remove_folder(folder)
