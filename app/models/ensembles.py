"""The evaluation of ensembles: by a worker, as a task, once per set of member checkpoints."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from app.errors import ApiError
from app.host.workers import seen_workers
from app.jobs.tasks import Tasks
from app.models.files import ModelFiles
from app.runs.public import RunPublic
from app.storage.tables import ENDED, Status
from trainer.exported.ensemble_report import EnsembleReport, read_report
from trainer.spec.tasks import MeasureRequest
from trainer.spec.train_spec import TrainSpec


class Ensembles:
    def __init__(self, files: ModelFiles, tasks: Tasks) -> None:
        self._files = files
        self._tasks = tasks

    def measured(self, runs: Sequence[RunPublic]) -> EnsembleReport | str:
        """Return the report, or the reason why there is none. Queues the evaluation if it is possible and due."""
        if reason := why_no_common_split(runs):
            return reason
        try:
            planned = [self._files.planned(run.id) for run in runs]
        except ApiError as error:
            return error.message
        key = hashlib.sha256("".join(item.about.checkpoint_sha256 for item in planned).encode()).hexdigest()[:24]
        target = (self._files.cache / "ensembles" / f"{key}-measured.json").resolve()
        if (report := read_report(target)) is not None:
            return report
        task = self._tasks.latest("measure", target)
        if task is not None and task.status == Status.FAILED and task.error is not None:
            return f"Measuring it failed: {task.error.message}"
        if task is not None and task.status not in ENDED:
            return "Being measured: look again in a moment."
        if not seen_workers(self._tasks.database):
            return "It is measured once a worker is there."
        request = MeasureRequest(
            files=tuple(self._files.file(run.id).path.resolve() for run in runs),
            spec=TrainSpec.model_validate(runs[0].spec),
            target=target,
            custom_models=tuple(self._tasks.settings.custom_models),
        )
        self._tasks.create(self._tasks.new_folder(), request)
        return "Being measured: look again in a moment."


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
