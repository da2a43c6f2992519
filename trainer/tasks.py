"""Tasks: work other than training, which has a directory, a lock, events and an end event like a run.

A task that is run again starts from the beginning.
"""

from __future__ import annotations

import logging
import signal
import time
from pathlib import Path
from types import FrameType
from typing import Any

import torch

from trainer.data.sources.labelled import Labelling
from trainer.data.sources.source import add_dataset
from trainer.errors import explain
from trainer.inference.ensemble import measure, open_files
from trainer.inference.evaluation import Origin, evaluate_on
from trainer.rundir.answers import write_answers_file
from trainer.rundir.events import EventWriter
from trainer.rundir.folder import TaskDir
from trainer.rundir.lock import LockHeld, take_lock
from trainer.spec.tasks import (
    AnyRequest,
    DatasetRequest,
    EvaluateRequest,
    ExportRequest,
    MeasureRequest,
    Places,
    PredictRequest,
    read_task_file,
)
from trainer.system.durable import write_durably
from trainer.system.progress import Progress

log = logging.getLogger(__name__)

PROGRESS_SECONDS = 0.1
LOCK_SECONDS = 2.0  # who asks whether the lock is held takes it for a moment


class Interrupted(BaseException):
    """The worker asked for the end of the task. It passes every `except Exception` on its way up."""


def run_task(task_dir: Path, attempt: int) -> int:
    """Run the request in task.json and emit the end event.

    Return the exit status: 0, 1 on failure, 2 if interrupted by SIGTERM, 3 if locked.
    """
    try:
        take_lock(task_dir, LOCK_SECONDS)
    except LockHeld as error:
        log.error("%s", error)
        return 3
    events = EventWriter(task_dir, attempt)
    events.emit("begin", attempt=attempt)
    before = signal.signal(signal.SIGTERM, _interrupt)
    try:
        request, places = read_task_file(TaskDir(task_dir).request.read_bytes())
        result = _work(task_dir, request, places, _progress(events))
        signal.signal(signal.SIGTERM, _ignore)  # what was asked for exists: its end event follows
    except Interrupted:
        events.emit("end", reason="interrupted", step=None, summary={}, error=None)
        return 2
    except Exception as error:
        signal.signal(signal.SIGTERM, _ignore)
        log.exception("the task failed")
        events.emit("end", reason="failed", step=None, summary={}, error=explain(error))
        return 1
    finally:
        signal.signal(signal.SIGTERM, before)
    events.emit("end", reason="finished", step=None, summary={}, error=None, result=result)
    events.sync()
    return 0


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    """End the work by an exception, so that it deletes what it has written so far. Only the first signal counts."""
    signal.signal(signal.SIGTERM, _ignore)
    raise Interrupted


def _ignore(_number: int, _frame: FrameType | None) -> None:
    """A handler, unlike SIG_IGN, is not inherited by the processes that are started."""


def _progress(events: EventWriter) -> Progress:
    """Return a callback that emits progress events, at most one per PROGRESS_SECONDS and one at the end."""
    emitted_at = 0.0

    def progress(done: int, total: int, what: str) -> None:
        nonlocal emitted_at
        now = time.monotonic()
        if now - emitted_at >= PROGRESS_SECONDS or done == total:
            emitted_at = now
            events.emit("progress", done=done, total=total, what=what)

    return progress


def _work(task_dir: Path, request: AnyRequest, places: Places, progress: Progress) -> dict[str, Any]:
    match request:
        case DatasetRequest():
            return _add(request, places, progress)
        case ExportRequest():
            from trainer.inference.onnx_export import export_onnx  # an optional dependency

            return export_onnx(
                request.files, places.datasets, request.target, progress, request.custom_models
            ).model_dump(mode="json")
        case EvaluateRequest():
            return _evaluate(TaskDir(task_dir), request, places, progress)
        case MeasureRequest():
            return measure(
                request.files, places.datasets, request.spec, request.target, progress, request.custom_models
            ).model_dump(mode="json")
        case PredictRequest():
            from trainer.inference.predict_task import predict_zip  # loads torch

            return predict_zip(task_dir, request, places, progress)


def _evaluate(folder: TaskDir, request: EvaluateRequest, places: Places, progress: Progress) -> dict[str, Any]:
    progress(0, 1, "loading the model")
    classifier, _ = open_files(request.files, torch.device("cpu"), request.custom_models)
    origin = Origin(request.own_dataset, request.own_accuracy, request.own_images)
    found, answers = evaluate_on(
        classifier,
        places.datasets,
        request.dataset,
        request.split,
        model=request.model,
        run=request.run,
        origin=origin,
        progress=progress,
    )
    write_answers_file(folder.evaluated, answers)
    write_durably(folder.evaluation, found.model_dump_json().encode())
    return {"dataset": found.dataset, "split": found.split, "acc": found.figures["acc"], "images": found.images}


def _add(request: DatasetRequest, places: Places, progress: Progress) -> dict[str, Any]:
    record = add_dataset(
        places.datasets,
        request.name,
        request.source,
        size=request.size,
        fit=request.fit,
        on_unreadable=request.on_unreadable,
        label=request.label,
        labelling=Labelling.of(request.model_dump()),
        progress=progress,
    )
    if request.label:
        Path(request.source).unlink(missing_ok=True)  # an upload, which is not needed any more
    if request.manifest:
        Path(request.manifest).unlink(missing_ok=True)
    counts = record.model_dump(include={"train_count", "test_count", "val_count", "other_files", "groups"})
    return {"dataset": record.name, **counts}
