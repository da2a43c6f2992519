"""`trackside predict`: classify files and folders of images with a run's best checkpoint, without a server."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import TextIO

from app.aliases import Aliases
from app.db import Database
from app.runs import Runs
from app.settings import Settings


def predict_here(settings: Settings, model: str, paths: list[Path], top_k: int, out: TextIO) -> None:
    """Write CSV of file, rank, label, probability, error. Raises LookupError when there is no such model."""
    run_id = Aliases(settings.home).run_of(model) or model
    if model == "latest":
        database = Database(settings.url)
        database.migrate()
        latest = Runs(database, settings).latest_finished()
        database.close()
        if latest is None:
            raise LookupError("No run has finished yet.")
        run_id = latest.id
    run_dir = settings.runs / run_id
    if not run_id.isalnum() or not (run_dir / "spec.json").exists():
        raise LookupError(f"There is no run {run_id!r}.")
    from trainer.infer import Diverged, NoCheckpoint, predict_paths

    writer = csv.writer(out)
    writer.writerow(["file", "rank", "label", "probability", "error"])
    try:
        for result in predict_paths(run_dir, settings.datasets, paths, top_k):
            if result.error is not None:
                writer.writerow([result.path, "", "", "", result.error])
            for rank, item in enumerate(result.predictions, 1):
                writer.writerow([result.path, rank, item.label, f"{item.probability:.6f}", ""])
    except NoCheckpoint:
        raise LookupError(f"The run {run_id} has no checkpoint to predict with.") from None
    except Diverged as error:
        raise LookupError(str(error)) from None
