"""Models as ONNX files: exported by a worker, as a task, and kept in the home's cache. Does not import onnx."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from app.errors import ApiError
from app.host.workers import seen_workers
from app.jobs.tasks import TaskPublic, Tasks
from app.models.files import ModelFile, ModelFiles
from app.prediction.members import members_of
from app.storage.tables import ENDED, Status
from trainer.exported.onnx_report import OnnxReport, missing_packages, read_report
from trainer.spec.tasks import ExportRequest


@dataclass(frozen=True)
class OnnxFile:
    """`report` is None where the model has not been exported yet."""

    members: tuple[ModelFile, ...]
    path: Path
    report: OnnxReport | None

    @property
    def size(self) -> int:
        """The side of the input images in pixels."""
        return self.members[0].about.size


class OnnxFiles:
    def __init__(self, files: ModelFiles, tasks: Tasks) -> None:
        self._files = files
        self._tasks = tasks

    def look(self, model: str) -> OnnxFile:
        """Return the ONNX file of a run or an ensemble, exported or not. Raises ApiError 404, 409."""
        members = tuple(self._files.planned(run) for run in members_of(model))
        path = self._path(members)
        return OnnxFile(members, path, read_report(path))

    def task_of(self, found: OnnxFile) -> TaskPublic | None:
        """Return the task that exports the model, or whose failure is the reason that there is no file."""
        task = self._tasks.latest("export", found.path.resolve())
        return None if task is None or task.status in (Status.FINISHED, Status.STOPPED) else task

    def begin(self, found: OnnxFile) -> TaskPublic:
        """Return the task that exports the model; queue one if none is active.

        Raises ApiError 409; 501: packages are missing; 503: there is no worker; OSError.
        """
        if missing := missing_packages():
            message = f"Exporting needs {', '.join(missing)}: install Trackside's extra with pip install '.[onnx]'."
            raise ApiError(501, "onnx_missing", message)
        task = self.task_of(found)
        if task is not None and task.status not in ENDED:
            return task
        if not seen_workers(self._tasks.database):
            raise ApiError(503, "no_worker", "No worker is there to export the model.", headers={"Retry-After": "10"})
        written = [self._files.file(member.about.run) for member in found.members]
        request = ExportRequest(
            files=tuple(item.path.resolve() for item in written),
            target=self._path(written).resolve(),
            custom_models=tuple(self._tasks.settings.custom_models),
        )
        return self._tasks.create(self._tasks.new_folder(), request)

    def done(self, task_id: str) -> bool:
        """Whether the export has finished. Raises ApiError 404; 409: it failed or was cancelled."""
        task = self._tasks.get(task_id)
        if task.status == Status.FAILED and task.error is not None:
            raise ApiError(409, "export_failed", task.error.message, {"task": task.id})
        if task.status == Status.STOPPED:
            raise ApiError(409, "export_cancelled", "The export was cancelled.", {"task": task.id})
        return task.status == Status.FINISHED

    def _path(self, members: Sequence[ModelFile]) -> Path:
        if len(members) == 1:
            return members[0].path.with_suffix(".onnx")
        key = hashlib.sha256("".join(member.path.stem for member in members).encode()).hexdigest()[:24]
        return self._files.cache / "ensembles" / f"{key}.onnx"
