"""The order of the queue, and what is asked of many runs at once."""

from __future__ import annotations

from typing import Literal

from fastapi import APIRouter
from starlette.responses import RedirectResponse, Response

from app.fields import RequestBody
from app.runs.bulk import BulkAnswer, BulkRequest, act_on
from app.runs.public import RunPublic
from app.runs.queue import Move
from app.web.errors import described
from app.web.services import QueueDep, RunsDep

router = APIRouter()


class MoveRequest(RequestBody):
    to: Literal["next", "up", "down", "now"]


@router.post("/api/runs/bulk", tags=["runs"])
def bulk(body: BulkRequest, runs: RunsDep) -> BulkAnswer:
    """Stop, delete, tag or star many runs. Those that cannot be acted on are named with the reason; others are done."""
    return act_on(runs, body)


@router.post(
    "/api/runs/{run_id}/move", tags=["runs"], responses=described({404: "No such run", 409: "The run is not queued"})
)
def move(run_id: str, body: MoveRequest, queue: QueueDep) -> RunPublic:
    """Move a queued run: before all others (next), by one (up, down), or onto the track (now).

    For "now" a running run saves, makes way, and goes on later.
    """
    return queue.move(run_id, body.to)


@router.post("/runs/{run_id}/move/{to}", include_in_schema=False)
def move_from_page(run_id: str, to: Move, queue: QueueDep) -> Response:
    queue.move(run_id, to)
    return RedirectResponse("/", 303)
