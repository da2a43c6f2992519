"""`trackside predict`: classify images in files, folders and zips with a run's best checkpoint, without a server."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from itertools import chain
from pathlib import Path
from typing import TextIO

from app.aliases import LATEST, Aliases
from app.db import Database
from app.runs import Runs
from app.settings import Settings
from trainer.data.image_files import open_paths

# Told of how many files are done, of how many.
Progress = Callable[[int, int], None]


def predict_here(
    settings: Settings,
    model: str,
    paths: list[Path],
    top_k: int,
    out: TextIO,
    *,
    json_lines: bool,
    before_writing: Callable[[], None],
    progress: Progress,
) -> int:
    """Write what each file shows, and give how many could be read. Raises LookupError where there is no such model."""
    run_dir = _run_dir(settings, model)
    sources = open_paths(paths)
    total = sum(1 for _ in chain(*sources))
    progress(0, total)

    from trainer.batch_predict import CsvWriter, JsonLinesWriter, predict_files
    from trainer.device import prepare
    from trainer.infer import Diverged, NoCheckpoint, open_run

    done = readable = 0
    try:
        classifier, record = open_run(run_dir, settings.datasets, prepare("cpu"))
        writer = JsonLinesWriter(out) if json_lines else CsvWriter(out)
        with closing(predict_files(classifier, record, chain(*sources), top_k)) as batches:
            for results in batches:
                before_writing()
                writer.write(results)
                out.flush()
                done += len(results)
                readable += sum(result.fault is None for result in results)
                progress(done, total)
    except NoCheckpoint:
        raise LookupError(f"The run {run_dir.name} has no checkpoint to predict with.") from None
    except Diverged as error:
        raise LookupError(str(error)) from None
    return readable


def _run_dir(settings: Settings, model: str) -> Path:
    run_id = Aliases(settings.home).run_of(model) or model
    if model == LATEST:
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
    return run_dir
