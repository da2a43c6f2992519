"""A run as a row of the list, and texts about its time that other views share."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property

from app.display.formatting import about, changes_text, duration, short
from app.display.sparkline import Sparkline, sparkline
from app.runs.public import RunPublic, took
from app.runs.runs import Runs
from app.runs.waiting import lacking
from app.storage.tables import Status
from app.web.runs.columns import Column, cell

MOVING = (Status.STARTING, Status.RUNNING, Status.STOPPING)


@dataclass(frozen=True)
class Row:
    """A run in the list. `place`: how many queued runs are ahead of a queued one; `time` stands beside its progress.

    `there`: the most devices of a machine, if that is asked for.
    """

    run: RunPublic
    place: int | None = None
    there: int | None = None

    @cached_property
    def spark(self) -> Sparkline:
        return sparkline(self.run.spark, self.run.total_steps)

    @property
    def what_changed(self) -> str:
        return changes_text(self.run.changed)

    @property
    def arrival(self) -> datetime | None:
        return arrival(self.run)

    @property
    def why(self) -> str:
        """Why the run failed."""
        return self.run.error.message if self.run.status == Status.FAILED and self.run.error else ""

    @property
    def waits(self) -> str:
        """What a queued run waits for."""
        place = f"place #{(self.place or 0) + 1} in the queue"
        return place if self.there is None else lacking(self.run.devices, self.there) or place

    @property
    def time(self) -> str:
        run = self.run
        match run.status:
            case Status.QUEUED if self.there is not None and self.run.devices > max(1, self.there):
                return f"needs {run.devices} devices"
            case Status.QUEUED:
                return f"#{(self.place or 0) + 1}"
            case Status.FAILED:
                return f"at step {run.step:,}" if run.step else "before step 1"
            case Status.STOPPED if run.is_script:
                return f"at step {run.step:,}"
            case Status.STOPPED:
                return f"at epoch {run.epoch}"
            case Status.FINISHED:
                return duration(took(run))
            case _ if run.is_script:
                return f"step {run.step:,}{f' · {run.phase}' if run.phase else ''}"
            case _:
                left = about(run.eta_seconds) if run.eta_is_rough else duration(run.eta_seconds)
                return f"{left} left" if left else run.phase or run.status

    @property
    def losses(self) -> str:
        """The latest training and validation loss of a script run, whose summary has them."""
        names = self.run.spark.get("names") or {} if self.run.is_script else {}
        values = (self.run.summary.get(names.get(split) or "") for split in ("train", "val"))
        return " ".join(short(value) for value in values if isinstance(value, int | float))

    def cell(self, column: Column) -> str:
        return cell(self.run, column)


def places_of(runs: Runs) -> dict[str, int]:
    """The number of runs ahead of each queued run, by run id; active runs are ahead of all."""
    active = runs.count_active()
    return {run_id: place + active for run_id, place in runs.queue_places().items()}


def arrival(run: RunPublic) -> datetime | None:
    """The estimated time of arrival, in UTC; None if the run is not active or has no estimate."""
    if run.eta_seconds is None or run.status not in MOVING:
        return None
    return datetime.now(UTC) + timedelta(seconds=run.eta_seconds)


def failed_at(run: RunPublic) -> str:
    return f"at step {run.step:,}" if run.step else "before its first step"
