from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Request, Response
from pydantic import BeforeValidator

from app.fields import none_if_empty
from app.results.cross_validation import CrossValidation, cross_validations
from app.results.export import as_csv, as_markdown
from app.results.ranking import ResultTable, results
from app.web.errors import described
from app.web.forms import render
from app.web.results.view import MOST_ROWS, ROWS, results_page
from app.web.services import DatabaseDep, DatasetsDep, RunsDep
from trainer.spec.train_spec import SelectBy

router = APIRouter()

Dataset = Annotated[str, Query(max_length=80)]
Project = Annotated[str, Query(max_length=200, description="Only runs of this project.")]
Limit = Annotated[int, Query(ge=1, le=MOST_ROWS)]
TEXTS: dict[str, Any] = {
    "content": {"text/csv": {"schema": {"type": "string"}}, "text/markdown": {"schema": {"type": "string"}}}
}


@router.get(
    "/api/results",
    tags=["results"],
    response_model=ResultTable,
    responses={200: TEXTS, **described({404: "No such dataset"})},
)
def table(
    database: DatabaseDep,
    datasets: DatasetsDep,
    dataset: Dataset,
    as_: Annotated[Literal["json", "csv", "markdown"], Query(alias="format")] = "json",
    limit: Limit = MOST_ROWS,
    by: SelectBy = "acc",
    project: Project = "",
) -> ResultTable | Response:
    """The finished runs of a dataset, grouped by seed group and ranked by a figure of their best validation."""
    found = results(database, datasets, dataset, limit, by, project)
    if as_ == "json":
        return found
    if as_ == "markdown":
        return Response(as_markdown(found), media_type="text/markdown; charset=utf-8")
    name = re.sub(r"[^\w.-]+", "_", dataset, flags=re.ASCII)
    headers = {"Content-Disposition": f'attachment; filename="results-{name}.csv"'}
    return Response(as_csv(found), media_type="text/csv; charset=utf-8", headers=headers)


@router.get("/api/results/cross-validation", tags=["results"])
def cross_validation(
    database: DatabaseDep, runs: RunsDep, datasets: DatasetsDep, group: Annotated[str, Query(max_length=200)]
) -> list[CrossValidation]:
    """The cross-validations among the runs of a group: figures over the folds, and all held-out predictions pooled."""
    return cross_validations(database, runs, datasets, group)


@router.get("/results", include_in_schema=False)
def page(
    request: Request,
    database: DatabaseDep,
    datasets: DatasetsDep,
    dataset: Annotated[str | None, Query(max_length=80), BeforeValidator(none_if_empty)] = None,
    limit: Limit = ROWS,
    by: SelectBy = "acc",
    project: Project = "",
) -> Response:
    return render(request, "results/index.html", results_page(database, datasets, dataset, limit, by, project))
