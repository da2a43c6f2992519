"""`trackside predict`: classify images in files, folders and zips with a run's best checkpoint, without a server."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from itertools import chain
from pathlib import Path
from typing import TextIO

from app.runs.names import LATEST, Aliases
from app.runs.runs import Runs
from app.settings import Settings
from app.storage.db import Database
from trainer.inference.image_files import open_paths
from trainer.rundir.folder import RunDir, is_job_id

# Called with the number of files done and the total number of files.
Progress = Callable[[int, int], None]


def predict_here(
    settings: Settings,
    model: str,
    paths: list[Path],
    top_k: int,
    out: TextIO,
    *,
    json_lines: bool = False,
    before_writing: Callable[[], None] = lambda: None,
    progress: Progress = lambda _done, _total: None,
) -> int:
    """Write the predictions of each file to `out` and return how many files could be read.

    `model` is a run's id, an alias, "latest", or an exported model file (trainer/exported/portable.py). Raises
    LookupError: there is no such model, it has no checkpoint, it is damaged, or its output is not finite.
    UnusableDatabase: for "latest", the database is missing or of another version.
    """
    run_dirs = [] if model.endswith(".safetensors") else run_dirs_of(settings, model)
    sources = open_paths(paths)
    total = sum(1 for _ in chain(*sources))
    progress(0, total)

    from trainer.exported.portable import PortableDamaged
    from trainer.inference.batch_predict import CsvWriter, JsonLinesWriter, predict_files
    from trainer.inference.classifier import NoCheckpoint, OutputNotFinite
    from trainer.inference.ensemble import open_runs
    from trainer.inference.rebuild import open_file
    from trainer.models.device import prepare

    done = readable = 0
    device = prepare("cpu")
    try:
        classifier, fitted = (
            open_runs(run_dirs, settings.datasets, device)
            if run_dirs
            else open_file(Path(model), device, settings.custom_models)
        )
        writer = JsonLinesWriter(out) if json_lines else CsvWriter(out)
        with closing(predict_files(classifier, fitted, chain(*sources), top_k)) as batches:
            for results in batches:
                before_writing()
                writer.write(results)
                out.flush()
                done += len(results)
                readable += sum(result.fault is None for result in results)
                progress(done, total)
    except NoCheckpoint:
        raise LookupError(f"The run {model} has no checkpoint to predict with.") from None
    except (OutputNotFinite, PortableDamaged) as error:
        raise LookupError(str(error)) from None
    return readable


def run_dirs_of(settings: Settings, model: str) -> list[Path]:
    """The directories of the runs that a model's name stands for. Raises LookupError, UnusableDatabase."""
    run_ids = Aliases(settings.home).runs_of(model) or (model,)
    if model == LATEST:
        with closing(Database(settings.url)) as database:
            database.check()
            latest = Runs(database, settings).latest_finished()
        if latest is None:
            raise LookupError("No run has finished yet.")
        run_ids = (latest.id,)
    for run_id in run_ids:
        if not is_job_id(run_id) or not RunDir(settings.runs / run_id).committed.exists():
            raise LookupError(f"There is no run {run_id!r}.")
    return [settings.runs / run_id for run_id in run_ids]
