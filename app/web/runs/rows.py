"""A run as a row of the list, and texts about its time that other views share."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from app.display.formatting import changes_text, duration
from app.display.sparkline import Sparkline, sparkline
from app.runs.public import RunPublic, took
from app.storage.tables import Status

MOVING = (Status.STARTING, Status.RUNNING, Status.STOPPING)


@dataclass(frozen=True)
class Row:
    """A run in the list. `place` is the number of runs ahead of a queued one; `time` is the text of its time column."""

    run: RunPublic
    place: int | None = None

    @property
    def spark(self) -> Sparkline:
        return sparkline(self.run.spark, self.run.total_steps)

    @property
    def what_changed(self) -> str:
        return changes_text(self.run.changed)

    @property
    def arrival(self) -> datetime | None:
        return arrival(self.run)

    @property
    def time(self) -> str:
        run = self.run
        match run.status:
            case Status.QUEUED:
                return f"queue #{(self.place or 0) + 1}"
            case Status.FAILED:
                return failed_at(run)
            case Status.STOPPED:
                return f"at epoch {run.epoch}"
            case Status.FINISHED:
                return duration(took(run))
            case _:
                left = duration(run.eta_seconds)
                return f"{left} left" if left else run.phase or run.status


def arrival(run: RunPublic) -> datetime | None:
    """The estimated time of arrival, in UTC; None if the run is not active or has no estimate."""
    if run.eta_seconds is None or run.status not in MOVING:
        return None
    return datetime.now(UTC) + timedelta(seconds=run.eta_seconds)


def failed_at(run: RunPublic) -> str:
    return f"at step {run.step:,}" if run.step else "before its first step"
