"""What a new home starts with: the built-in dataset and, if wanted, one short example run at the lowest priority."""

from __future__ import annotations

from rich.console import Console

from app.jobs.tasks import Tasks
from app.runs.launching import Launcher
from app.runs.requests import NewRun
from app.runs.runs import Runs
from app.settings import Settings
from app.storage.db import Database
from trainer.data.format import list_records
from trainer.data.sources.source import BUILT_IN, add_dataset
from trainer.spec.tasks import DatasetRequest

STEPS = 500
PRIORITY = -100


def queue_built_in_dataset(settings: Settings) -> None:
    """Queue the import of the built-in dataset if the home is new: if it has no database and no datasets yet."""
    database = Database(settings.url)
    if not database.exists() and not list_records(settings.datasets):
        database.migrate()
        tasks = Tasks(database, settings)
        tasks.create(tasks.new_folder(), DatasetRequest(name=BUILT_IN, source=BUILT_IN))
    database.close()


def prepare_demo(settings: Settings, console: Console) -> None:
    if BUILT_IN not in {record.name for record in list_records(settings.datasets)}:
        with console.status(f"Drawing the built-in dataset {BUILT_IN} (60,000 images, 185 MB)…"):
            add_dataset(settings.datasets, BUILT_IN, BUILT_IN)
    database = Database(settings.url)
    database.migrate()
    if Runs(database, settings).count() == 0:
        Launcher(database, settings).create(
            NewRun(
                dataset=BUILT_IN,
                preset="baseline-cnn",
                name="example",
                tags=["example"],
                overrides={"max_steps": STEPS},
                priority=PRIORITY,
            )
        )
    database.close()
