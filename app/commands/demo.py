"""Add the built-in dataset and one short example run, at the lowest priority, to a new home."""

from __future__ import annotations

from rich.console import Console

from app.runs.launching import Launcher
from app.runs.requests import NewRun
from app.runs.runs import Runs
from app.settings import Settings
from app.storage.db import Database
from trainer.data.format import list_records
from trainer.data.sources.source import BUILT_IN, add_dataset

STEPS = 500
PRIORITY = -100


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
