"""The task that classifies a zip of images. It writes a CSV file next to its task.json, and deletes the upload."""

from __future__ import annotations

import os
from contextlib import closing
from pathlib import Path
from typing import Any

import orjson

from trainer.data.sources.archive import check_images
from trainer.inference.batch_predict import CsvWriter, predict_files
from trainer.inference.classifier import NoCheckpoint
from trainer.inference.ensemble import open_runs
from trainer.inference.image_files import ZipImages
from trainer.models.device import prepare
from trainer.rundir.folder import RunDir, TaskDir
from trainer.spec.tasks import Places, PredictRequest
from trainer.system.durable import placed, write_durably
from trainer.system.progress import Progress

NICE = 5  # as the predictor: lower priority than training


def predict_zip(task_dir: Path, request: PredictRequest, places: Places, progress: Progress) -> dict[str, Any]:
    """Classify the images and return the task's result. Raises NoCheckpoint, OutputNotFinite, DatasetError."""
    task = TaskDir(task_dir)
    if task.result.exists():  # an earlier attempt finished, but did not emit its end event
        result: dict[str, Any] = orjson.loads(task.result.read_bytes())
        return result
    os.nice(NICE)
    source, run_dirs = Path(request.source), [places.runs / run for run in request.members or (request.run,)]
    progress(0, 0, "loading the model")
    for run_dir in run_dirs:
        if not RunDir(run_dir).spec.exists():
            raise NoCheckpoint(f"The run {run_dir.name} is gone.")
    classifier, record = open_runs(run_dirs, places.datasets, prepare(request.device))
    files = ZipImages(str(source), check_images(source))
    total, done, unreadable = len(files.entries), 0, 0
    with (
        placed(task.predictions, mode=0o666, alone=True) as fresh,
        fresh.open("w", encoding="utf-8", newline="") as out,
        closing(predict_files(classifier, record, files, request.top_k)) as batches,
    ):
        writer = CsvWriter(out)
        for results in batches:
            writer.write(results)
            done += len(results)
            unreadable += sum(result.fault is not None for result in results)
            progress(done, total, "classifying")
    result = {"images": total, "unreadable": unreadable, "run": request.run, "step": classifier.step}
    write_durably(task.result, orjson.dumps(result))
    source.unlink(missing_ok=True)
    return result
