from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request, Response
from prometheus_client import CollectorRegistry, Gauge, generate_latest
from sqlalchemy import func
from sqlmodel import col, select

from app.errors import ApiError
from app.host.workers import seen_workers
from app.storage.tables import Run, Worker
from app.web.errors import described
from app.web.services import FeedDep, RunsDep, SettingsDep

router = APIRouter(tags=["health"])


@router.get("/healthz")
def healthz() -> dict[str, str]:
    return {"status": "alive"}


@router.get("/readyz", responses=described({503: "Not ready; see Retry-After"}))
def readyz(runs: RunsDep, settings: SettingsDep) -> dict[str, Any]:
    seen = len(seen_workers(runs.database))
    if settings.expect_workers and not seen:
        raise ApiError(503, "no_worker", "No worker has been seen.", headers={"Retry-After": "2"})
    return {"status": "ready", "workers": seen}


@router.get("/api/workers", tags=["workers"])
def workers(runs: RunsDep) -> list[Worker]:
    return seen_workers(runs.database)


@router.get(
    "/metrics", response_class=Response, responses={200: {"content": {"text/plain": {"schema": {"type": "string"}}}}}
)
def prometheus(request: Request, runs: RunsDep, feed: FeedDep) -> Response:
    registry = CollectorRegistry()
    count = Gauge("trackside_runs", "Runs by status", ["status"], registry=registry)
    with runs.database.read() as session:
        for status, number in session.exec(select(Run.status, func.count()).group_by(col(Run.status))).all():
            count.labels(status).set(number)
    Gauge("trackside_live_streams", "Open live streams", registry=registry).set(feed.streams)
    return Response(generate_latest(registry), media_type="text/plain; version=0.0.4")
