"""The runs page, and the parts of it that are fetched again while it is open."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any
from urllib.parse import unquote

from fastapi import APIRouter, Query, Request, Response

from app.datasets.datasets import Datasets
from app.errors import ApiError, invalid
from app.host.workers import most_devices, seen_workers
from app.results.cross_validation import cross_validations
from app.runs.groups import groupable, groups_of
from app.runs.projects import projects_of
from app.runs.public import RunPublic
from app.runs.query import RunQuery
from app.runs.run_fields import RunField
from app.runs.runs import Runs
from app.runs.sections import sections_of
from app.storage.changes import current_seq
from app.storage.db import Database
from app.storage.tables import Status
from app.web.errors import wants_html
from app.web.forms import checked, render
from app.web.runs.columns import COOKIE, Choice, chosen, offered
from app.web.runs.folds import FoldsView, folds_view
from app.web.runs.index_view import Asked, RunsPageView, group_view, sections_view
from app.web.runs.lanes import WAITING_SHOWN, Lane, lanes_of, loads
from app.web.runs.rows import Row
from app.web.services import DatabaseDep, DatasetsDep, RunsDep, ViewsDep

router = APIRouter(include_in_schema=False)


@router.get("/")
def runs_page(
    request: Request, database: DatabaseDep, runs: RunsDep, datasets: DatasetsDep, views: ViewsDep
) -> Response:
    asked = Asked.of(request.query_params)
    choice = chosen(asked["cols"] or unquote(request.cookies.get(COOKIE, "")))
    query, problem = _query_of(request, asked)
    by = _grouped_by(asked["group_by"])
    with database.read() as session:
        seq = current_seq(session)  # read first, so that the page misses no event of the feed
    listed: dict[str, Any] = {}
    if not problem:
        places = runs.queue_places()
        listed = (
            _groups(database, asked, query, by, choice, places) if by else _sections(database, asked, query, places)
        )
    page = RunsPageView(
        asked=asked,
        lanes=_lanes(database, runs),
        choice=choice,
        offered=offered(runs.metrics()),
        datasets=tuple(record.name for record in datasets.list()),
        projects=tuple(projects_of(database)),
        views=tuple(views.all()),
        total=runs.count(),
        seq=seq,
        problem=problem,
        folds=_folds(database, runs, datasets, asked),
        **listed,
    )
    return render(request, "runs/index.html", page, 422 if problem else 200)


@router.get("/runs/{run_id}/row")
def row_fragment(
    request: Request,
    run_id: str,
    database: DatabaseDep,
    runs: RunsDep,
    cols: Annotated[str, Query(max_length=4000)] = "",
    shows_group: bool = False,
) -> Response:
    run = runs.get(run_id)
    row = Row(run, runs.queue_places().get(run_id), _devices_there(database, [run]))
    columns = chosen(cols).columns
    return render(request, "runs/_row.html", None, row=row, columns=columns, shows_group=shows_group)


@router.get("/lanes")
def lanes_fragment(request: Request, database: DatabaseDep, runs: RunsDep) -> Response:
    return render(request, "runs/_lanes.html", None, lanes=_lanes(database, runs))


def _query_of(request: Request, asked: Asked) -> tuple[RunQuery, str]:
    """Return the query, and what is wrong with the search: a page shows that beside it. Raises ApiError 422."""
    try:
        return checked(RunQuery, asked.query), ""
    except ApiError as error:
        wrong = error.detail if isinstance(error.detail, list) else []
        if not wants_html(request) or [item["field"] for item in wrong] != ["q"]:
            raise
        return RunQuery(), str(wrong[0]["message"])


def _grouped_by(name: str) -> RunField | None:
    """Raises ApiError 422."""
    try:
        return groupable(name) if name else None
    except ValueError as error:
        raise invalid([(["group_by"], str(error))]) from None


def _sections(database: Database, asked: Asked, query: RunQuery, places: Mapping[str, int]) -> dict[str, Any]:
    found = sections_of(database, query, whole_queue=bool(asked["queue"]) or query.status == Status.QUEUED)
    return {
        "sections": sections_view(found, places, _devices_there(database, found.queued)),
        "matching": found.matching,
        "next_link": None if found.next_cursor is None else asked.link(cursor=found.next_cursor),
    }


def _devices_there(database: Database, queued: Sequence[RunPublic]) -> int | None:
    return most_devices(seen_workers(database)) if any(run.devices > 1 for run in queued) else None


def _groups(
    database: Database, asked: Asked, query: RunQuery, by: RunField, choice: Choice, places: Mapping[str, int]
) -> dict[str, Any]:
    found = groups_of(database, query, by, choice.metrics, asked.opened, asked.page)
    return {
        "groups": tuple(group_view(asked, by, group, places) for group in found.groups),
        "group_count": found.count,
        "matching": found.runs,
        "next_link": asked.link(page=str(asked.page + 1)) if found.has_more else None,
    }


def _folds(database: Database, runs: Runs, datasets: Datasets, asked: Asked) -> tuple[FoldsView, ...]:
    if not asked["group"] or asked["cursor"]:
        return ()
    return tuple(folds_view(found) for found in cross_validations(database, runs, datasets, asked["group"]))


def _lanes(database: Database, runs: Runs) -> tuple[Lane, ...]:
    workers = seen_workers(database)
    active = {run.id: run for run in runs.active()}
    return lanes_of(workers, active, runs.queue(WAITING_SHOWN * len(workers)), loads(database, workers))
