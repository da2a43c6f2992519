"""Work besides training that runs like a run: a directory, a lock, events, an end.

A task that is done again starts from the beginning.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson

from trainer.data.sources.source import add_dataset
from trainer.errors import explain
from trainer.inference.ensemble import measure
from trainer.rundir.events import EventWriter
from trainer.rundir.folder import TaskDir
from trainer.rundir.lock import LockHeld, take_lock
from trainer.spec.train_spec import TrainSpec
from trainer.system.progress import Progress

log = logging.getLogger(__name__)

PROGRESS_SECONDS = 0.1


def run_task(task_dir: Path, attempt: int) -> int:
    """Do what task.json asks and write how it ended. Returns the process's exit status."""
    try:
        take_lock(task_dir)
    except LockHeld as error:
        log.error("%s", error)
        return 3
    events = EventWriter(task_dir, attempt)
    events.emit("begin", attempt=attempt)
    request = orjson.loads(TaskDir(task_dir).request.read_bytes())
    try:
        result = WORK[request["kind"]](task_dir, request, _progress(events))
    except Exception as error:
        log.exception("the task failed")
        events.emit("end", reason="failed", step=None, summary={}, error=explain(error))
        return 1
    events.emit("end", reason="finished", step=None, summary={}, error=None, result=result)
    events.sync()
    return 0


def _progress(events: EventWriter) -> Progress:
    """Tells how far a task is, not too often."""
    shown_at = 0.0

    def progress(done: int, total: int, what: str) -> None:
        nonlocal shown_at
        now = time.monotonic()
        if now - shown_at >= PROGRESS_SECONDS or done == total:
            shown_at = now
            events.emit("progress", done=done, total=total, what=what)

    return progress


def _add(_task_dir: Path, request: dict[str, Any], progress: Progress) -> dict[str, Any]:
    record = add_dataset(
        Path(request["datasets"]),
        request["name"],
        request["source"],
        size=request.get("size"),
        fit=request.get("fit") or "crop",
        on_unreadable=request.get("on_unreadable") or "refuse",
        label=request.get("label"),
        progress=progress,
    )
    if request.get("label"):
        Path(request["source"]).unlink(missing_ok=True)  # an upload has served its purpose
    return {"dataset": record.name, "train_count": record.train_count, "test_count": record.test_count}


def _export(_task_dir: Path, request: dict[str, Any], progress: Progress) -> dict[str, Any]:
    from trainer.inference.onnx_export import export_onnx  # an extra that need not be installed

    files = [Path(file) for file in request["files"]]
    report = export_onnx(files, Path(request["datasets"]), Path(request["target"]), progress, request["custom_models"])
    return report.model_dump(mode="json")


def _measure(_task_dir: Path, request: dict[str, Any], progress: Progress) -> dict[str, Any]:
    spec = TrainSpec.model_validate(request["spec"])
    files = [Path(file) for file in request["files"]]
    report = measure(
        files, Path(request["datasets"]), spec, Path(request["target"]), progress, request["custom_models"]
    )
    return report.model_dump(mode="json")


def _predict(task_dir: Path, request: dict[str, Any], progress: Progress) -> dict[str, Any]:
    from trainer.inference.predict_task import predict_zip  # torch comes in here, already loaded in a forked child

    return predict_zip(task_dir, request, progress)


WORK: dict[str, Callable[[Path, dict[str, Any], Progress], dict[str, Any]]] = {
    "dataset": _add,
    "export": _export,
    "measure": _measure,
    "predict": _predict,
}
