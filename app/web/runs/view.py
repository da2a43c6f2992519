"""The template context of the page of a run."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, get_args

import orjson

from app.display.formatting import duration, short
from app.display.labels import THRESHOLDS, by_heading
from app.runs.attempts import Attempt
from app.runs.public import CheckpointPublic, LogLinePublic, RunPublic, took
from app.runs.setup import Decided, Difference
from app.runs.waiting import lacking
from app.storage.tables import Status
from app.web.runs.cards import Card
from app.web.runs.checks_tab import ChecksTab
from app.web.runs.errors_tab import ErrorsTab
from app.web.runs.figures import Figures, figures_of
from app.web.runs.rows import MOVING, arrival, failed_at
from trainer.rundir.environment import Environment, GitState
from trainer.spec.optimizer_spec import ScheduleName

TAIL_LINES = 20


@dataclass(frozen=True)
class RunPageView:
    """`/runs/{id}`. `tail` has the last log lines of a failed run.

    `behind` is the number of runs ahead of a queued one, `devices_there` the most devices of a machine.
    `parent_name` is "" if the parent is deleted, `answering` is the checkpoint that predicts. Which of the other fields
    are filled depends on `tab`. `folded` is the heading whose settings are folded at first.
    """

    run: RunPublic
    tab: str
    classes: int | None
    behind: int = 0
    devices_there: int = 0
    parent_name: str = ""
    answering: CheckpointPublic | None = None
    tail: tuple[LogLinePublic, ...] = ()
    lines: tuple[LogLinePublic, ...] = ()
    checkpoints: tuple[CheckpointPublic, ...] = ()
    cards: tuple[Card, ...] = ()
    checks: ChecksTab | None = None
    errors: ErrorsTab | None = None
    settings: tuple[tuple[str, Any], ...] = ()
    from_preset: tuple[Difference, ...] = ()
    from_parent: tuple[Difference, ...] = ()
    command: str = ""
    decided: tuple[Decided, ...] = ()
    validation: str = ""
    environment: Environment | None = None
    git: GitState | None = None
    series: tuple[str, ...] = ()
    attempts: tuple[Attempt, ...] = ()
    section: str = "runs"
    folded: str = field(default=THRESHOLDS, init=False)
    schedules: tuple[str, ...] = field(default=get_args(ScheduleName), init=False)
    tabs: tuple[tuple[str, str], ...] = field(
        default=(
            ("curves", "Curves"),
            ("checks", "Checks"),
            ("errors", "Errors"),
            ("log", "Log"),
            ("setup", "Setup & files"),
        ),
        init=False,
    )

    @property
    def title(self) -> str:
        best = "" if self.run.best_acc is None else f"{100 * self.run.best_acc:.1f} · "
        done = f"{100 * self.run.progress:.0f}% · " if self.run.status in MOVING else ""
        return f"{done}{best}{self.run.name}"

    @property
    def waits(self) -> str:
        """What a queued run waits for."""
        if self.run.status == Status.QUEUED and (lacks := lacking(self.run.devices, self.devices_there)):
            return f"Waiting in the queue: the run {lacks}."
        what = "a free device" if self.run.devices == 1 else f"{self.run.devices} free devices"
        return f"Waiting in the queue for {what}."

    @property
    def arrival(self) -> datetime | None:
        return arrival(self.run)

    @property
    def took(self) -> str:
        return duration(took(self.run))

    @property
    def setting_groups(self) -> tuple[tuple[str, tuple[tuple[str, Any], ...]], ...]:
        """The settings (name, value) under the headings of the launch form."""
        values = dict(self.settings)
        return tuple(
            (heading, tuple((name, values[name]) for name in names)) for heading, names in by_heading(values).items()
        )

    @property
    def figures(self) -> Figures:
        return figures_of(self.run.summary)

    @property
    def changed_fields(self) -> frozenset[str]:
        return frozenset(item.field for item in self.from_preset)

    @property
    def first_series(self) -> str:
        """The series of the charts at the top, which are fetched together with the scripts that draw them."""
        names = ["train/loss", "val/loss", "train/acc", "val/acc", "lr", "throughput"]
        return ",".join(names + ["grad/norm", "update/ratio"] * self.run.train_spec.track_gradients)

    @property
    def logged(self) -> str:
        """What the script of the curves is told, as JSON: the names of the run's series, and its attempts."""
        return orjson.dumps({"series": self.series, "attempts": self.attempts}).decode()

    @property
    def failed_at(self) -> str:
        return failed_at(self.run)

    @property
    def failure_detail(self) -> str:
        detail = None if self.run.error is None else self.run.error.detail
        return detail if isinstance(detail, str) else ""

    @property
    def now_loss(self) -> str:
        value = self.run.summary.get("val/loss")
        if not isinstance(value, int | float):
            seen = [item for item in self.run.spark.get("val", []) if item is not None]
            value = seen[-1] if seen else None
        return "" if value is None else short(value)
