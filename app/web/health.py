from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request, Response
from prometheus_client import CollectorRegistry, Gauge, generate_latest

from app.errors import ApiError
from app.host.workers import seen_workers
from app.runs.query import counts_by_status
from app.storage.tables import Worker
from app.web.errors import described
from app.web.services import DatabaseDep, FeedDep, SettingsDep

router = APIRouter(tags=["health"])


@router.get("/healthz")
def healthz() -> dict[str, str]:
    return {"status": "alive"}


@router.get("/readyz", responses=described({503: "Not ready; see Retry-After"}))
def readyz(database: DatabaseDep, settings: SettingsDep) -> dict[str, Any]:
    seen = len(seen_workers(database))
    if settings.expect_workers and not seen:
        raise ApiError(503, "no_worker", "No worker is connected.", headers={"Retry-After": "2"})
    return {"status": "ready", "workers": seen}


@router.get("/api/workers", tags=["workers"])
def workers(database: DatabaseDep) -> list[Worker]:
    return seen_workers(database)


@router.get(
    "/metrics", response_class=Response, responses={200: {"content": {"text/plain": {"schema": {"type": "string"}}}}}
)
def prometheus(request: Request, database: DatabaseDep, feed: FeedDep) -> Response:
    registry = CollectorRegistry()
    count = Gauge("trackside_runs", "Runs by status", ["status"], registry=registry)
    with database.read() as session:
        for status, number in counts_by_status(session):
            count.labels(status).set(number)
    Gauge("trackside_live_streams", "Open live streams", registry=registry).set(feed.streams)
    return Response(generate_latest(registry), media_type="text/plain; version=0.0.4")
