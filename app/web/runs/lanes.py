"""The lanes of the runs page: per device its current run, its utilization and its next runs."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from app.display.trace import Trace, trace_path
from app.host.samples import samples
from app.host.workers import most_devices
from app.runs.public import RunPublic
from app.runs.waiting import lacking
from app.storage.db import Database
from app.storage.tables import Worker
from app.web.runs.rows import arrival

LANE_SECONDS = 600.0
LANE_SIZE = (120, 24)


def loads(database: Database, workers: Sequence[Worker]) -> dict[str, Trace]:
    """The utilization of each worker's device over the last LANE_SECONDS, drawn at LANE_SIZE, by worker id."""
    found = {}
    with database.read() as session:
        for worker in workers:
            rows = samples(session, worker.host, worker.device, LANE_SECONDS, time.time())
            if rows:
                times, values = [row.time for row in rows], [row.utilisation for row in rows]
                path = trace_path(times, values, time.time() - LANE_SECONDS, LANE_SECONDS, 1.0, 10.0, *LANE_SIZE)
                found[worker.id] = Trace("utilisation", f"{values[-1]:.0%}", f"{max(values):.0%}", path)
    return found


WAITING_SHOWN = 3


@dataclass(frozen=True)
class Lane:
    """A worker's device. `waiting` are the queued runs that will probably start on it next."""

    worker: Worker
    run: RunPublic | None
    waiting: tuple[RunPublic, ...]
    load: Trace | None = None

    @property
    def arrival(self) -> datetime | None:
        return None if self.run is None else arrival(self.run)

    @property
    def percent(self) -> str:
        """The length of the progress bar as an SVG attribute, at least 2% so that it is visible."""
        return f"{max(2.0, 100 * self.run.progress):.2f}%" if self.run else "0%"


def lanes_of(
    workers: Sequence[Worker],
    active: Mapping[str, RunPublic],
    queue: Sequence[RunPublic],
    loads: Mapping[str, Trace],
) -> tuple[Lane, ...]:
    """One lane per worker. `active` is by run id, `loads` by worker id.

    Queued runs are dealt out in turn, without those that need more devices than there are.
    """
    there = most_devices(workers)
    queue = [run for run in queue if not lacking(run.devices, there)]
    return tuple(
        Lane(
            worker,
            active.get(worker.run or ""),
            tuple(queue[index :: len(workers)][:WAITING_SHOWN]),
            loads.get(worker.id),
        )
        for index, worker in enumerate(workers)
    )
