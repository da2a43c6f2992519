"""What the client of a script calls: register a session, send its events, send files."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response
from fastapi.concurrency import run_in_threadpool

from app.runs.script_requests import Received, Registered, ScriptId, ScriptSession, SessionId
from app.web.errors import described
from app.web.scripts.body import events_of
from app.web.services import PrincipalDep, ScriptLimitsDep, ScriptsDep

router = APIRouter(prefix="/api/scripts", tags=["scripts"])
EVENTS: dict[str, Any] = {
    "requestBody": {
        "required": False,
        "content": {"application/x-ndjson": {"schema": {"type": "string", "description": "One event per line."}}},
    }
}


@router.put(
    "/{run_id}",
    responses={
        201: {"model": Registered, "description": "The run was created"},
        **described(
            {
                404: "resume is must, and there is no such run",
                409: "resume is never, and there is such a run",
                429: "Too much at once",
            }
        ),
    },
)
async def register(
    run_id: ScriptId,
    body: ScriptSession,
    request: Request,
    scripts: ScriptsDep,
    limits: ScriptLimitsDep,
    principal: PrincipalDep,
    response: Response,
) -> Registered:
    """Register one execution of a script. Repeating it is harmless: a known session keeps its attempt."""
    token = None if principal is None else principal.token
    limits.check_creation(token or (request.client.host if request.client else ""))
    async with limits.turn(run_id, 0), limits.work(run_id, 0):
        registered, created = await run_in_threadpool(scripts.register, run_id, body)
    response.status_code = 201 if created else 200
    return registered


@router.post(
    "/{run_id}/events",
    openapi_extra=EVENTS,
    responses=described(
        {
            404: "No such run or session",
            409: "Bytes are missing before the offset, or differ from earlier ones, or the session was superseded",
            413: "More than 4 MiB at once, or more than a session may log",
            415: "The Content-Encoding is not gzip",
            429: "Too much at once; see Retry-After",
        }
    ),
)
async def events(
    run_id: ScriptId,
    request: Request,
    scripts: ScriptsDep,
    limits: ScriptLimitsDep,
    session: Annotated[SessionId, Query()],
    offset: Annotated[int, Query(ge=0, le=2**50, description="Where in the session's events the body begins.")],
) -> Received:
    """Send the events of a session from a byte offset on; an empty body says that the script is alive.

    Content-Encoding gzip is accepted.
    """
    declared = request.headers.get("content-length")
    async with limits.turn(run_id, None if declared is None else int(declared)):
        body = await events_of(request)
        async with limits.work(run_id, len(body)):
            return await run_in_threadpool(scripts.append, run_id, session, offset, body)
