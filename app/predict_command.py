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
    """Write CSV of file, rank, label, probability, error. Raises LookupError when there is no such model.

    `model` is a run, a name, latest, or a file that was taken away (trainer/portable.py).
    """
    run_dirs = [] if model.endswith(".safetensors") else _run_dirs(settings, model)
    import torch

    from trainer.ensemble import open_runs
    from trainer.infer import Diverged, NoCheckpoint, classify_paths
    from trainer.portable import PortableDamaged
    from trainer.rebuild import open_file

    writer = csv.writer(out)
    writer.writerow(["file", "rank", "label", "probability", "error"])
    device = torch.device("cpu")
    try:
        classifier, fitted = (
            open_runs(run_dirs, settings.datasets, device)
            if run_dirs
            else open_file(Path(model), device, settings.custom_models)
        )
        for result in classify_paths(classifier, fitted.size, fitted.fit, paths, top_k):
            if result.error is not None:
                writer.writerow([result.path, "", "", "", result.error])
            for rank, item in enumerate(result.predictions, 1):
                writer.writerow([result.path, rank, item.label, f"{item.probability:.6f}", ""])
    except NoCheckpoint:
        raise LookupError(f"The run {model} has no checkpoint to predict with.") from None
    except (Diverged, PortableDamaged) as error:
        raise LookupError(str(error)) from None


def _run_dirs(settings: Settings, model: str) -> list[Path]:
    run_ids = Aliases(settings.home).runs_of(model) or (model,)
    if model == "latest":
        database = Database(settings.url)
        database.migrate()
        latest = Runs(database, settings).latest_finished()
        database.close()
        if latest is None:
            raise LookupError("No run has finished yet.")
        run_ids = (latest.id,)
    for run_id in run_ids:
        if not run_id.isalnum() or not (settings.runs / run_id / "spec.json").exists():
            raise LookupError(f"There is no run {run_id!r}.")
    return [settings.runs / run_id for run_id in run_ids]
