from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Header, Query
from fastapi.responses import StreamingResponse

from app.deps import FeedDep, RunsDep

router = APIRouter(prefix="/api", tags=["live"])

Names = Annotated[str, Query(max_length=8000)]
After = Annotated[int | None, Query(ge=0, le=2**62)]
LastEventId = Annotated[str | None, Header(max_length=40)]
HEADERS = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}


@router.get("/events", response_class=StreamingResponse)
async def events(
    feed: FeedDep, runs: Names = "", kinds: Names = "", after: After = None, last_event_id: LastEventId = None
) -> StreamingResponse:
    """Server-sent events of runs (all if none is named); `after` or Last-Event-ID resumes without gap or repeat."""
    if last_event_id is not None and last_event_id.isdigit():
        after = int(last_event_id)
    stream = feed.subscribe(frozenset(filter(None, runs.split(","))), frozenset(filter(None, kinds.split(","))), after)
    return StreamingResponse(stream, media_type="text/event-stream", headers=HEADERS)


@router.get("/runs/{run_id}/events", response_class=StreamingResponse)
async def run_events(
    run_id: str, feed: FeedDep, runs: RunsDep, kinds: Names = "", after: After = None, last_event_id: LastEventId = None
) -> StreamingResponse:
    runs.exists(run_id)
    return await events(feed, run_id, kinds, after, last_event_id)
