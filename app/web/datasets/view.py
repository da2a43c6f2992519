"""What each page is given to render. Templates read these and compute nothing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, get_args
from urllib.parse import urlencode

from app.display.formatting import duration
from app.errors_tab import ErrorsTab
from app.jobs.tasks import TaskPublic
from app.launch_form import FieldGroup
from app.recipe import ChecksTab, Shown
from app.run_views import MOVING, Lane, Row, arrival, failed_at
from app.runs.public import CheckpointPublic, LogLinePublic, RunPublic, took
from app.runs.setup import Difference
from app.storage.tables import Status
from trainer.data.format import DatasetRecord
from trainer.spec.preset import Preset
from trainer.spec.train_spec import ScheduleName

SAMPLES = 8
TAIL_LINES = 20
CELLS = 100


@dataclass(frozen=True)
class RunsPage:
    """`/`. `total` counts all runs, whatever the filter; `filters` are those that are set."""

    lanes: tuple[Lane, ...]
    rows: tuple[Row, ...]
    datasets: tuple[str, ...]
    filters: dict[str, str]
    total: int
    next_cursor: str | None
    seq: int
    section: str = "runs"

    @property
    def statuses(self) -> tuple[str, ...]:
        return tuple(Status)

    @property
    def older(self) -> str | None:
        return None if self.next_cursor is None else self.link(cursor=self.next_cursor)

    @property
    def is_filtered(self) -> bool:
        return any(name in self.filters for name in ("status", "dataset", "q", "tag", "group", "model", "starred"))

    @property
    def is_first_page(self) -> bool:
        return "cursor" not in self.filters

    def link(self, **changed: str | None) -> str:
        """This page's address with other filters; the place in the list is kept only where it is named."""
        kept = {name: value for name, value in self.filters.items() if name != "cursor"} | changed
        query = urlencode({name: value for name, value in kept.items() if value})
        return f"/?{query}" if query else "/"


@dataclass(frozen=True)
class Sample:
    split: str
    index: int
    label: str


@dataclass(frozen=True)
class DatasetCard:
    record: DatasetRecord
    samples: tuple[Sample, ...]


@dataclass(frozen=True)
class PresetCard:
    """`values` are the preset's settings as the form's fields show them."""

    preset: Preset
    values: dict[str, str]


@dataclass(frozen=True)
class LaunchPage:
    """`/runs/new`. `errors` are by field; `parent` is the run whose settings are filled in."""

    datasets: tuple[DatasetCard, ...]
    dataset: str
    presets: tuple[PresetCard, ...]
    preset: str
    groups: tuple[FieldGroup, ...]
    typed: Mapping[str, str]
    errors: Mapping[str, str]
    parent: RunPublic | None = None
    section: str = ""

    @property
    def common(self) -> tuple[PresetCard, ...]:
        return tuple(card for card in self.presets if self._is_common(card))

    @property
    def others(self) -> tuple[PresetCard, ...]:
        return tuple(card for card in self.presets if not self._is_common(card))

    @property
    def other_is_chosen(self) -> bool:
        return any(card.preset.name == self.preset for card in self.others)

    @property
    def stray_errors(self) -> dict[str, str]:
        """Errors that no field on the page shows."""
        shown = {item.name for group in self.groups for item in group.fields} | {
            "dataset",
            "preset",
            "name",
            "expectation",
        }
        return {name: text for name, text in self.errors.items() if name not in shown}

    def _is_common(self, card: PresetCard) -> bool:
        name = card.preset.name
        return not name.startswith("baseline") or name in ("baseline-cnn", "baseline-mlp")


@dataclass(frozen=True)
class RunPage:
    """`/runs/{id}`. `tail` are the last log lines of a failed run, `behind` says how many run before a queued one;
    the tab decides which of the rest is filled."""

    run: RunPublic
    tab: str
    classes: int | None
    behind: int = 0
    tail: tuple[LogLinePublic, ...] = ()
    lines: tuple[LogLinePublic, ...] = ()
    checkpoints: tuple[CheckpointPublic, ...] = ()
    findings: tuple[Shown, ...] = ()
    checks: ChecksTab | None = None
    errors: ErrorsTab | None = None
    settings: tuple[tuple[str, Any], ...] = ()
    from_preset: tuple[Difference, ...] = ()
    command: str = ""
    section: str = "runs"
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
    def arrival(self) -> datetime | None:
        return arrival(self.run)

    @property
    def took(self) -> str:
        return duration(took(self.run))

    @property
    def changed_fields(self) -> frozenset[str]:
        return frozenset(item.field for item in self.from_preset)

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
        return "" if value is None else f"{value:.2f}"


@dataclass(frozen=True)
class DatasetsPage:
    """`/datasets`. `tasks` are imports that are not done, or failed lately."""

    cards: tuple[DatasetCard, ...]
    tasks: tuple[TaskPublic, ...]
    sources: tuple[str, ...]
    section: str = "datasets"


def dataset_card(record: DatasetRecord) -> DatasetCard:
    rows = [index * record.train_count // SAMPLES for index in range(SAMPLES)]
    return DatasetCard(record, tuple(Sample("train", row, "") for row in rows if row < record.train_count))
