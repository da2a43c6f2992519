from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Header, Query, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from app.web.errors import described
from app.web.feed import Feed, Viewer
from app.web.services import FeedDep, RunsDep

router = APIRouter(prefix="/api", tags=["live"])

Names = Annotated[str, Query(max_length=8000)]
After = Annotated[int | None, Query(ge=0, le=2**62)]
LastEventId = Annotated[str | None, Header(max_length=40)]
STREAM: dict[str, Any] = {"content": {"text/event-stream": {"schema": {"type": "string"}}}}
TOO_MANY = described({503: "Too many streams are open; see Retry-After"})
HEADERS = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}


class EventStream(StreamingResponse):
    """Unsubscribes its viewer when the response ends, including when the client disconnects before the first frame."""

    media_type = "text/event-stream"

    def __init__(self, feed: Feed, viewer: Viewer) -> None:
        super().__init__(feed.frames(viewer), headers=HEADERS)
        self.feed, self.viewer = feed, viewer

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            self.feed.leave(self.viewer)


@router.get("/events", response_class=StreamingResponse, responses={200: STREAM, **TOO_MANY})
async def events(
    request: Request,
    feed: FeedDep,
    runs: Names = "",
    kinds: Names = "",
    after: After = None,
    last_event_id: LastEventId = None,
) -> StreamingResponse:
    """Server-sent events of `runs` (default: all); `after` or Last-Event-ID resumes without gaps or duplicates."""
    if last_event_id is not None and last_event_id.isdecimal():
        after = int(last_event_id)
    wanted = frozenset(filter(None, runs.split(",")))
    viewer = feed.subscribe(wanted, frozenset(filter(None, kinds.split(","))), after, request.state.is_authorized)
    return EventStream(feed, viewer)


@router.get(
    "/runs/{run_id}/events",
    response_class=StreamingResponse,
    responses={200: STREAM, **TOO_MANY, **described({404: "No such run"})},
)
async def run_events(
    request: Request,
    run_id: str,
    feed: FeedDep,
    runs: RunsDep,
    kinds: Names = "",
    after: After = None,
    last_event_id: LastEventId = None,
) -> StreamingResponse:
    await run_in_threadpool(runs.exists, run_id)
    return await events(request, feed, run_id, kinds, after, last_event_id)
