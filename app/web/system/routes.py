"""The system page, and its data in the API."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Request, Response

from app.host import disk as home_disk
from app.host.versions import versions
from app.host.workers import seen_workers
from app.storage.changes import current_seq
from app.storage.product import product
from app.web.forms import render
from app.web.services import DatabaseDep, SettingsDep
from app.web.system import view as system
from app.web.system.view import Span, SystemPage, SystemPublic

router = APIRouter()

SpanQuery = Annotated[Span, Query(description="Samples of the last hour, or means of minutes of the last day or week.")]


@router.get("/api/system", tags=["workers"])
def system_state(database: DatabaseDep, settings: SettingsDep, span: SpanQuery = "hour") -> SystemPublic:
    """Devices over time, workers, disk and versions."""
    devices = system.sampled_devices(database, span)
    with database.read() as session:
        disk, database_product = home_disk.disk(session, settings), product(session)
    return SystemPublic(
        devices=devices,
        workers=seen_workers(database),
        disk=disk,
        versions=versions(database_product),
    )


@router.get("/system", include_in_schema=False)
def page(request: Request, database: DatabaseDep, settings: SettingsDep, span: SpanQuery = "hour") -> Response:
    with database.read() as session:
        seq = current_seq(session)
        disk, largest_runs = home_disk.disk(session, settings), home_disk.largest_runs(session)
        database_product = product(session)
    connected = system.workers_page(settings, database)
    shown = SystemPage(
        workers=connected.workers,
        names=connected.names,
        nodes=connected.nodes,
        disk=disk,
        largest_runs=largest_runs,
        versions=versions(database_product),
        span=span,
        seq=seq,
    )
    return render(request, "system/index.html", shown)


@router.get("/system/workers", include_in_schema=False)
def workers(request: Request, database: DatabaseDep, settings: SettingsDep) -> Response:
    """The fragment with the workers and nodes, which an open page fetches again."""
    return render(request, "system/_workers.html", system.workers_page(settings, database))
