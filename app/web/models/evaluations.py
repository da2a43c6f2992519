"""Evaluations of models on labeled datasets: API and page."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import islice
from typing import Literal

from fastapi import APIRouter, Request, Response
from fastapi.concurrency import run_in_threadpool
from pydantic import BaseModel, Field
from starlette.responses import RedirectResponse

from app.diagnosis.mistakes import Mistake, Pair
from app.display.intervals import wilson
from app.fields import Line, RequestBody
from app.jobs.tasks import TaskPublic
from app.models.evaluations import Evaluated
from app.web.errors import described
from app.web.forms import checked, render, texts
from app.web.location import NEW_TASK, located
from app.web.services import DatasetsDep, EvaluationsDep, RunsDep
from trainer.data.errors import DatasetDamaged
from trainer.exported.evaluation import Evaluation

router = APIRouter()

PAIRS, EXAMPLES, MISTAKES = 8, 4, 30

SplitName = Literal["train", "test", "val"]


class NewEvaluation(RequestBody):
    model: Line = Field(description="A run's id, a model's name, or `latest`.")
    dataset: Line
    split: SplitName = "test"


class ClassPublic(BaseModel):
    name: str
    images: int
    predicted: int = Field(description="Images that are predicted as it.")
    right: int
    recall: float
    recall_interval: list[float] = Field(description="95%, from and to.")
    precision: float | None
    precision_interval: list[float]
    f1: float
    f1_interval: list[float]


class EvaluationPublic(BaseModel):
    """`evaluation` and what follows are null until the task has finished."""

    task: TaskPublic
    evaluation: Evaluation | None = None
    accuracy_interval: list[float] | None = Field(None, description="95%, from and to.")
    significantly_worse: bool | None = Field(
        None, description="Whether the accuracy is more than three standard errors below that on its own test split."
    )
    classes: list[ClassPublic] | None = None
    confusion: list[list[int]] | None = Field(None, description="[class, predicted, images] where there are any.")


@router.post(
    "/api/evaluations",
    tags=["models"],
    status_code=202,
    responses=NEW_TASK
    | described({404: "No such model or dataset", 409: "The model has no checkpoint", 503: "There is no worker"}),
)
def begin(body: NewEvaluation, response: Response, evaluations: EvaluationsDep) -> TaskPublic:
    """Start evaluating a model on a labeled dataset, whose classes it must know by their names."""
    return located(evaluations.begin(body.model, body.dataset, body.split), response)


@router.get("/api/evaluations/{task_id}", tags=["models"], responses=described({404: "No such evaluation"}))
def get(task_id: str, evaluations: EvaluationsDep) -> EvaluationPublic:
    """The task, and once it has finished the figures with their intervals, by class, and the confusion matrix."""
    task = evaluations.get(task_id)
    found = evaluations.evaluated(task)
    return EvaluationPublic(task=task) if found is None else _public(found)


@router.post("/evaluations", include_in_schema=False)
async def begin_from_page(request: Request, evaluations: EvaluationsDep) -> Response:
    body = checked(NewEvaluation, {name: text for name, text in texts(await request.form()).items() if text})
    task = await run_in_threadpool(evaluations.begin, body.model, body.dataset, body.split)
    return RedirectResponse(f"/evaluations/{task.id}", 303)


@dataclass(frozen=True)
class EvaluationPage:
    """`/evaluations/{id}`. `found` is None until the task has finished."""

    task: TaskPublic
    found: Evaluated | None
    model: str  # its alias, or the name of its run
    interval: tuple[float, float] = (0.0, 1.0)
    pairs: tuple[Pair, ...] = ()
    mistakes: tuple[Mistake, ...] = ()
    section: str = "models"


@router.get("/evaluations/{task_id}", include_in_schema=False)
def page(request: Request, task_id: str, evaluations: EvaluationsDep, datasets: DatasetsDep, runs: RunsDep) -> Response:
    task = evaluations.get(task_id)
    found = evaluations.evaluated(task)
    asked = str(task.request["model"])
    model = runs.names([asked]).get(asked, asked)
    if found is None or found.examined is None:
        return render(request, "models/evaluation.html", EvaluationPage(task, found, model))
    try:
        files = tuple(datasets.files(found.evaluation.dataset, found.evaluation.split))
    except DatasetDamaged:
        files = ()
    shown = EvaluationPage(
        task,
        found,
        model,
        wilson(found.examined.right, found.examined.count),
        tuple(found.examined.pairs(PAIRS, EXAMPLES)),
        tuple(islice(found.examined.mistakes(files), MISTAKES)),
    )
    return render(request, "models/evaluation.html", shown)


def _public(found: Evaluated) -> EvaluationPublic:
    evaluation = found.evaluation
    answer = EvaluationPublic(
        task=found.task,
        evaluation=evaluation,
        accuracy_interval=list(wilson(evaluation.figures["acc"] * evaluation.images, evaluation.images)),
        significantly_worse=found.is_worse if evaluation.own_test else None,
    )
    if found.examined is None:
        return answer
    counts = found.examined.confusion()
    answer.classes = [
        ClassPublic(
            name=item.label,
            images=item.count,
            predicted=item.guessed,
            right=item.right,
            recall=item.recall,
            recall_interval=list(item.recall_interval),
            precision=item.precision,
            precision_interval=list(item.precision_interval),
            f1=item.f1,
            f1_interval=list(item.f1_interval),
        )
        for item in found.classes
    ]
    answer.confusion = [
        [int(row), int(column), int(counts[row, column])] for row, column in zip(*counts.nonzero(), strict=True)
    ]
    return answer
