"""Evaluations of models on labeled datasets, made by a worker as tasks."""

from __future__ import annotations

from dataclasses import dataclass

from app.datasets.datasets import Datasets
from app.diagnosis.class_results import Averages, ClassResult, averages
from app.diagnosis.mistakes import Examination
from app.errors import ApiError, not_found
from app.host.workers import seen_workers
from app.jobs.tasks import TaskPublic, Tasks
from app.models.files import ModelFiles
from app.models.registry import ModelRegistry
from app.prediction.members import members_of
from app.runs.runs import Runs
from app.storage.tables import Status
from trainer.data.errors import DatasetError
from trainer.data.format import DatasetRecord, Split
from trainer.exported.class_names import ClassesDiffer, model_labels
from trainer.exported.evaluation import Evaluation, read_evaluation
from trainer.rundir.answers import read_answers_file
from trainer.rundir.folder import TaskDir
from trainer.spec.tasks import EvaluateRequest

WORSE_Z = 3.0  # standard errors from which on a model is said to be worse than on its own test split


@dataclass(frozen=True)
class Evaluated:
    """An evaluation that has finished. `examined` is None if the dataset was deleted or changed since."""

    task: TaskPublic
    evaluation: Evaluation
    examined: Examination | None

    @property
    def is_worse(self) -> bool:
        """Whether the model is significantly worse than on its own test split."""
        own = self.evaluation.own_test
        return own is not None and own.z > WORSE_Z

    @property
    def classes(self) -> tuple[ClassResult, ...]:
        return () if self.examined is None else tuple(self.examined.classes())

    @property
    def averages(self) -> Averages | None:
        return None if self.examined is None else averages(self.examined.confusion())


class Evaluations:
    def __init__(self, models: ModelRegistry, files: ModelFiles, tasks: Tasks, runs: Runs, datasets: Datasets) -> None:
        self._models, self._files, self._tasks = models, files, tasks
        self._runs, self._datasets = runs, datasets

    def begin(self, model: str, dataset: str, split: Split) -> TaskPublic:
        """Queue an evaluation. Raises ApiError 404, 409, 422; 503: there is no worker."""
        run_id = self._models.resolve(model)
        record = self._datasets.get(dataset)
        if split not in record.splits:
            raise ApiError(422, "no_split", f"{dataset} has no {split} split.", detail={"splits": list(record.splits)})
        files = [self._files.file(run) for run in members_of(run_id)]
        try:
            model_labels(files[0].about.classes, record, self._datasets.labels(dataset, split))
        except ClassesDiffer as error:
            raise ApiError(422, error.code, error.message, detail=error.detail) from None
        if not seen_workers(self._tasks.database):
            raise ApiError(503, "no_worker", "No worker is there to evaluate it.", headers={"Retry-After": "10"})
        request = EvaluateRequest(
            model=model,
            run=run_id,
            files=tuple(file.path.resolve() for file in files),
            dataset=dataset,
            split=split,
            custom_models=tuple(self._tasks.settings.custom_models),
            **self._origin(run_id),
        )
        return self._tasks.create(self._tasks.new_folder(), request)

    def get(self, task_id: str) -> TaskPublic:
        """The task. Raises ApiError 404."""
        task = self._tasks.get(task_id)
        if task.kind != "evaluate":
            raise not_found("evaluation", task_id)
        return task

    def evaluated(self, task: TaskPublic) -> Evaluated | None:
        """What a finished task has found; None if it has not finished. Raises ApiError 404: its files are gone."""
        if task.status != Status.FINISHED:
            return None
        folder = TaskDir(self._tasks.settings.tasks / task.id)
        found = read_evaluation(folder.evaluation)
        if found is None:
            raise not_found("evaluation", task.id)
        return Evaluated(task, found, self._examined(folder, found))

    def _examined(self, folder: TaskDir, found: Evaluation) -> Examination | None:
        answers = read_answers_file(folder.evaluated, 0)
        try:
            record = self._datasets.get(found.dataset)
            labels = model_labels(found.classes, record, self._datasets.labels(found.dataset, found.split))
        except (ApiError, DatasetError):
            return None
        if answers is None or len(answers.row) != len(labels):
            return None
        names = tuple(found.classes)
        return Examination(found.split, answers, labels, names, tuple(range(len(names))), None, ())

    def _origin(self, run_id: str) -> dict[str, str | float | int]:
        """The accuracy on the test split of the model's own dataset; nothing of an ensemble."""
        run = self._runs.get(members_of(run_id)[0])
        accuracy = run.summary.get("test/acc")
        record: DatasetRecord | None = self._datasets.found_for(run.train_spec.dataset)
        if len(members_of(run_id)) > 1 or not isinstance(accuracy, float) or record is None:
            return {}
        return {"own_dataset": run.dataset, "own_accuracy": accuracy, "own_images": record.test_count}
