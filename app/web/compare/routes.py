from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Request, Response
from pydantic import BeforeValidator

from app.fields import none_if_empty
from app.results.comparison import Comparison, compare, slots_of
from app.web.compare.view import ComparePage, XAxis, compare_page
from app.web.errors import described
from app.web.forms import render
from app.web.services import DatabaseDep, DatasetsDep, RunsDep

router = APIRouter()

SeriesName = Annotated[str, Query(max_length=500)]

Ids = Annotated[
    list[str], Query(alias="runs", description="Ids, separated by commas; at most 12. An empty place is passed over.")
]


@router.get("/api/compare", tags=["compare"], responses=described({404: "No such run"}))
def compare_runs(database: DatabaseDep, runs: RunsDep, datasets: DatasetsDep, ids: Ids) -> Comparison:
    """Differing settings, metrics, seed groups, and paired tests of the validation predictions."""
    return compare(database, runs, datasets, slots_of(ids))


@router.get("/compare", include_in_schema=False)
def page(
    request: Request,
    database: DatabaseDep,
    runs: RunsDep,
    datasets: DatasetsDep,
    ids: Ids = [],  # noqa: B006
    series: SeriesName = "",
    x: Annotated[XAxis | None, Query(), BeforeValidator(none_if_empty)] = None,
    project: Annotated[str, Query(max_length=200)] = "",
) -> Response:
    shown = compare_page(database, runs, datasets, slots_of(ids), series, x, project)
    return render(request, "compare/index.html", shown)


@router.get("/compare/tables", include_in_schema=False)
def tables(request: Request, database: DatabaseDep, runs: RunsDep, datasets: DatasetsDep, ids: Ids) -> Response:
    """The tables below the chart, which an open page fetches again while its runs continue."""
    shown: ComparePage = compare_page(database, runs, datasets, slots_of(ids), choices=False)
    return render(request, "compare/_tables.html", shown)
