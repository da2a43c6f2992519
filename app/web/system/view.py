"""The state of the system: devices over time, workers, disk, versions."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, get_args

from pydantic import BaseModel
from sqlmodel import select

from app.display.trace import Trace, trace_path
from app.host.disk import Disk, LargestRun
from app.host.samples import HOUR, WEEK, SampleSeries, series_of
from app.host.workers import seen_workers
from app.storage.db import Database
from app.storage.tables import DeviceSample, Worker

Span = Literal["hour", "day", "week"]
SPANS: dict[Span, float] = {"hour": HOUR, "day": 24 * HOUR, "week": WEEK}
GAP_FACTOR = 5  # a line has a gap if samples are further apart than this multiple of the sampling interval


class SystemPublic(BaseModel):
    devices: list[SampleSeries]
    workers: list[Worker]
    disk: Disk
    versions: dict[str, str]


@dataclass(frozen=True)
class DeviceView:
    host: str
    device: str
    description: str
    series: SampleSeries
    seconds: float

    @cached_property
    def start(self) -> float:
        """The left end of the x axis, in UNIX seconds: the first sample if the device has none for the whole span."""
        now = time.time()
        first = self.series.time[0] if self.series.time else now
        return max(now - self.seconds, min(first, now - 60))

    @cached_property
    def traces(self) -> tuple[Trace, ...]:
        series = self.series
        if not series.time:
            return ()
        shares = [memory / series.memory_total for memory in series.memory]
        found = [self._trace("utilisation", series.utilisation, 1.0, "{:.0%}")]
        in_gib = [memory / 2**30 for memory in series.memory]
        path = self._path(shares, 1.0)
        of = f" of {series.memory_total / 2**30:.1f} GiB"
        found.append(Trace("memory", f"{in_gib[-1]:.1f}{of}", f"{max(in_gib):.1f} GiB", path))
        if any(value is not None for value in series.temperature):
            found.append(self._trace("temperature", series.temperature, 100.0, "{:.0f} °C"))
        return tuple(found)

    def _trace(self, name: str, values: Sequence[float | None], top: float, shown: str) -> Trace:
        known = [value for value in values if value is not None]
        return Trace(name, shown.format(known[-1]), shown.format(max(known)), self._path(values, top))

    def _path(self, values: Sequence[float | None], top: float) -> str:
        pace = 2.0 if self.seconds <= HOUR else 60.0
        return trace_path(self.series.time, values, self.start, time.time() - self.start, top, GAP_FACTOR * pace)


@dataclass(frozen=True)
class SystemPage:
    """`/system`. `span` is the time that the charts cover; `seq` is the number of the last change."""

    devices: tuple[DeviceView, ...]
    workers: tuple[Worker, ...]
    disk: Disk
    largest_runs: tuple[LargestRun, ...]
    versions: dict[str, str]
    span: Span
    seq: int
    section: str = "system"

    @property
    def spans(self) -> tuple[Span, ...]:
        return get_args(Span)


def device_views(database: Database, span: Span) -> tuple[DeviceView, ...]:
    """All devices that have samples in the span or a worker now."""
    seconds = SPANS[span]
    described = {(worker.host, worker.device): worker.description for worker in seen_workers(database)}
    with database.read() as session:
        statement = select(DeviceSample.host, DeviceSample.device).where(DeviceSample.time > time.time() - seconds)
        known = sorted({*session.exec(statement.distinct()).all(), *described})
        return tuple(
            DeviceView(
                host, device, described.get((host, device), ""), series_of(session, host, device, seconds), seconds
            )
            for host, device in known
        )
