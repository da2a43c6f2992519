"""The evaluation of ensembles: by a worker, as a task, once per set of member checkpoints."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from app.errors import ApiError
from app.host.workers import seen_workers
from app.jobs.tasks import Tasks
from app.models.files import ModelFiles
from app.runs.public import RunPublic
from app.storage.tables import ENDED, Status
from trainer.exported.ensemble_report import EnsembleReport, read_report
from trainer.spec.part import STORED
from trainer.spec.tasks import MeasureRequest
from trainer.spec.train_spec import TrainSpec


@dataclass(frozen=True)
class Unmeasured:
    """Why there is no report, and whether one can be made."""

    reason: str
    can_begin: bool = False


class Ensembles:
    def __init__(self, files: ModelFiles, tasks: Tasks) -> None:
        self._files = files
        self._tasks = tasks

    def measured(self, runs: Sequence[RunPublic]) -> EnsembleReport | Unmeasured:
        """Return the report, or the reason why there is none."""
        if reason := why_no_common_split(runs):
            return Unmeasured(reason)
        try:
            target = self._target(runs)
        except ApiError as error:
            return Unmeasured(error.message)
        if (report := read_report(target)) is not None:
            return report
        task = self._tasks.latest("measure", target)
        if task is not None and task.status == Status.FAILED and task.error is not None:
            return Unmeasured(f"Measuring it failed: {task.error.message}", can_begin=True)
        if task is not None and task.status not in ENDED:
            return Unmeasured("Being measured: reload in a moment.")
        return Unmeasured("Not measured yet.", can_begin=True)

    def begin(self, runs: Sequence[RunPublic]) -> None:
        """Queue the evaluation if it is possible and due. Raises ApiError 409; 503: there is no worker."""
        found = self.measured(runs)
        if isinstance(found, EnsembleReport) or not found.can_begin:
            return
        if not seen_workers(self._tasks.database):
            raise ApiError(503, "no_worker", "No worker is there to measure it.", headers={"Retry-After": "10"})
        request = MeasureRequest(
            files=tuple(self._files.file(run.id).path.resolve() for run in runs),
            spec=TrainSpec.model_validate(runs[0].spec, context=STORED),
            target=self._target(runs),
            custom_models=tuple(self._tasks.settings.custom_models),
        )
        self._tasks.create(self._tasks.new_folder(), request)

    def _target(self, runs: Sequence[RunPublic]) -> Path:
        """Where the report is or will be written. Raises ApiError 409."""
        planned = [self._files.planned(run.id) for run in runs]
        key = hashlib.sha256("".join(item.about.checkpoint_sha256 for item in planned).encode()).hexdigest()[:24]
        return (self._files.cache / "ensembles" / f"{key}-measured.json").resolve()


def why_no_common_split(runs: Sequence[RunPublic]) -> str:
    """Return why the runs share no held-out images; "" if they do. Their dataset must be the same."""
    specs = [run.train_spec for run in runs]
    if any(run.val_count == 0 for run in runs) or not all(spec.validates for spec in specs):
        return "Not measured: not all of its runs held images out."
    if len({spec.validated_on for spec in specs}) > 1:
        return (
            "Not measured: its runs held out different images (their seed or validation split differs), so that each "
            "was trained on some that the others held out."
        )
    return ""
