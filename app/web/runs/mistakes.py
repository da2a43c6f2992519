"""A run's mistakes on the validation split: the confusion matrix as JSON, classes and all mistakes as CSV."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query
from fastapi.responses import StreamingResponse
from pydantic import BaseModel, BeforeValidator, Field, WithJsonSchema

from app.datasets.datasets import Datasets
from app.diagnosis import class_results
from app.diagnosis.mistakes import Examination, as_csv, examined
from app.errors import not_found
from app.fields import none_if_empty
from app.runs.runs import Runs
from app.web.errors import described
from app.web.services import DatasetsDep, RunsDep

router = APIRouter(prefix="/api/runs", tags=["runs"])
CSV: dict[int | str, dict[str, Any]] = {200: {"content": {"text/csv": {"schema": {"type": "string"}}}}}
NOTHING = described({404: "No such run, or no evaluation at that step"})

Step = Annotated[
    int | None,
    Query(ge=0, le=2**40, description="An evaluation's step; the best one's if left out"),
    BeforeValidator(none_if_empty),
]


# The JSON schema has no prefixItems, as that of trainer.data.format.Channels.
Cell = Annotated[
    tuple[int, int, int], WithJsonSchema({"type": "array", "items": {"type": "integer"}, "minItems": 3, "maxItems": 3})
]


class Confusion(BaseModel):
    step: int
    classes: list[str]
    order: list[int] = Field(description="Classes in the order in which they are drawn")
    groups: list[int] | None = Field(description="The superclass of each class, where there are any")
    cells: list[Cell] = Field(description="[class, answered, images] where there are any")


@router.get("/{run_id}/confusion", responses=NOTHING)
def confusion(run_id: str, runs: RunsDep, datasets: DatasetsDep, step: Step = None) -> Confusion:
    found = _examined(runs, datasets, run_id, step)
    counts = found.confusion()
    cells = [(int(row), int(column), int(counts[row, column])) for row, column in zip(*counts.nonzero(), strict=True)]
    groups = None if found.group is None else list(found.group)
    return Confusion(
        step=found.answers.step, classes=list(found.names), order=list(found.order), groups=groups, cells=cells
    )


@router.get("/{run_id}/classes.csv", responses={**NOTHING, **CSV}, response_class=StreamingResponse)
def classes_csv(run_id: str, runs: RunsDep, datasets: DatasetsDep, step: Step = None) -> StreamingResponse:
    """Recall, precision and F1 of each class on the validation split with their 95% intervals, lowest recall first."""
    found = _examined(runs, datasets, run_id, step)
    headers = {"Content-Disposition": f'attachment; filename="{run_id}-classes-{found.answers.step}.csv"'}
    return StreamingResponse(class_results.as_csv(found.classes()), media_type="text/csv", headers=headers)


@router.get("/{run_id}/mistakes.csv", responses={**NOTHING, **CSV}, response_class=StreamingResponse)
def mistakes_csv(run_id: str, runs: RunsDep, datasets: DatasetsDep, step: Step = None) -> StreamingResponse:
    """Every mistake on the validation split, by decreasing loss. `row` is the image's index in the arrays of its split:
    "val" in a dataset with own validation images, else "train"."""
    found = _examined(runs, datasets, run_id, step)
    files = datasets.files(runs.get(run_id).dataset, found.split)
    headers = {"Content-Disposition": f'attachment; filename="{run_id}-mistakes-{found.answers.step}.csv"'}
    return StreamingResponse(as_csv(found.mistakes(files)), media_type="text/csv", headers=headers)


def _examined(runs: Runs, datasets: Datasets, run_id: str, step: int | None) -> Examination:
    try:
        found = examined(runs, datasets, runs.get(run_id), step)
    except FileNotFoundError:
        found = None
    if found is None:
        raise not_found("answers of run", run_id if step is None else f"{run_id} at step {step}")
    return found
