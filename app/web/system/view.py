"""The state of the system: devices over time, workers, disk, versions."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, get_args

from pydantic import BaseModel
from sqlmodel import col, select

from app.host.disk import Disk, LargestRun
from app.host.nodes import Node, Nodes
from app.host.samples import HOUR, WEEK, SampleSeries, series_of
from app.host.workers import seen_workers
from app.settings import Settings
from app.storage.db import Database
from app.storage.tables import DeviceSample, Run, Worker

Span = Literal["hour", "day", "week"]
SPANS: dict[Span, float] = {"hour": HOUR, "day": 24 * HOUR, "week": WEEK}


class SystemPublic(BaseModel):
    devices: list[SampleSeries]
    workers: list[Worker]
    disk: Disk
    versions: dict[str, str]


@dataclass(frozen=True)
class WorkersPage:
    """The tables of workers and nodes. `names` are those of the workers' runs, by id."""

    workers: tuple[Worker, ...]
    names: Mapping[str, str]
    nodes: tuple[Node, ...]


@dataclass(frozen=True)
class SystemPage(WorkersPage):
    """`/system`. `span` is the time that the charts cover; `seq` is the number of the last change."""

    disk: Disk
    largest_runs: tuple[LargestRun, ...]
    versions: dict[str, str]
    span: Span
    seq: int
    section: str = "system"

    @property
    def spans(self) -> tuple[Span, ...]:
        return get_args(Span)


def sampled_devices(database: Database, span: Span) -> list[SampleSeries]:
    """The samples of all devices that have any in the span or a worker now."""
    seconds = SPANS[span]
    connected = {(worker.host, worker.device) for worker in seen_workers(database)}
    with database.read() as session:
        statement = select(DeviceSample.host, DeviceSample.device).where(DeviceSample.time > time.time() - seconds)
        known = sorted({*session.exec(statement.distinct()).all(), *connected})
        return [series_of(session, host, device, seconds) for host, device in known]


def workers_page(settings: Settings, database: Database) -> WorkersPage:
    nodes = tuple(Nodes(settings, database).all())
    workers = tuple(seen_workers(database))
    with database.read() as session:
        statement = select(Run.id, Run.name).where(col(Run.id).in_([worker.run for worker in workers if worker.run]))
        return WorkersPage(workers, dict(session.exec(statement).all()), nodes)
