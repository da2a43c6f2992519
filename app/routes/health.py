from __future__ import annotations

from datetime import timedelta
from typing import Any

from fastapi import APIRouter, Request, Response
from prometheus_client import CollectorRegistry, Gauge, generate_latest
from sqlalchemy import func
from sqlmodel import col, select

from app.deps import FeedDep, RunsDep, SettingsDep
from app.errors import ApiError
from app.tables import Run, Worker, now

router = APIRouter(tags=["health"])

SEEN = timedelta(seconds=15)


@router.get("/healthz")
def healthz() -> dict[str, str]:
    return {"status": "alive"}


@router.get("/readyz")
def readyz(runs: RunsDep, settings: SettingsDep) -> dict[str, Any]:
    with runs.database.read() as session:
        seen = session.exec(select(func.count()).select_from(Worker).where(col(Worker.seen_at) > now() - SEEN)).one()
    if settings.expect_workers and not seen:
        raise ApiError(503, "no_worker", "No worker has been seen.", headers={"Retry-After": "2"})
    return {"status": "ready", "workers": seen}


@router.get("/api/workers", tags=["workers"])
def workers(runs: RunsDep) -> list[dict[str, Any]]:
    with runs.database.read() as session:
        rows = session.exec(select(Worker).where(col(Worker.seen_at) > now() - SEEN).order_by(col(Worker.device))).all()
    return [row.model_dump(mode="json") for row in rows]


@router.get("/metrics", include_in_schema=True)
def prometheus(request: Request, runs: RunsDep, feed: FeedDep) -> Response:
    registry = CollectorRegistry()
    count = Gauge("trackside_runs", "Runs by status", ["status"], registry=registry)
    with runs.database.read() as session:
        for status, number in session.exec(select(Run.status, func.count()).group_by(col(Run.status))).all():
            count.labels(status).set(number)
    Gauge("trackside_live_streams", "Open live streams", registry=registry).set(feed.streams)
    return Response(generate_latest(registry), media_type="text/plain; version=0.0.4")
