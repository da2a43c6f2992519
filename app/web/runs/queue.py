"""Reordering the queue, and bulk actions on runs."""

from __future__ import annotations

from fastapi import APIRouter
from starlette.responses import RedirectResponse, Response

from app.fields import RequestBody
from app.runs.bulk import BulkAnswer, BulkRequest, act_on
from app.runs.public import RunPublic
from app.runs.queue import Move
from app.web.errors import described
from app.web.services import LauncherDep, QueueDep, RunsDep

router = APIRouter()


class MoveRequest(RequestBody):
    to: Move


@router.post("/api/runs/bulk", tags=["runs"])
def bulk(body: BulkRequest, runs: RunsDep, launcher: LauncherDep, queue: QueueDep) -> BulkAnswer:
    """Stop, resume, clone, move, delete, tag or star many runs.

    Returns one result per run, with the reason for each that failed.
    """
    return act_on(body, runs, launcher, queue)


@router.post(
    "/api/runs/{run_id}/move", tags=["runs"], responses=described({404: "No such run", 409: "The run is not queued"})
)
def move(run_id: str, body: MoveRequest, queue: QueueDep) -> RunPublic:
    """Move a queued run to the front (next) or the end (last), by one place (up, down), or start it now.

    "now" makes a running run save a checkpoint and return to the queue; it continues later.
    """
    return queue.move(run_id, body.to)


@router.post("/runs/{run_id}/move/{to}", include_in_schema=False)
def move_from_page(run_id: str, to: Move, queue: QueueDep) -> Response:
    queue.move(run_id, to)
    return RedirectResponse("/", 303)
