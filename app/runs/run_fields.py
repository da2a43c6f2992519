"""What a search, the order and the columns of the list of runs can name: columns, settings and metrics of runs."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cache
from typing import Any, Literal

from sqlalchemy import Float, cast, extract, func
from sqlmodel import col

from app.display.labels import SHORT_WORDS
from app.storage.tables import Run, Status
from trainer.spec.dataset_spec import DatasetSpec
from trainer.spec.preset import flatten, number_type
from trainer.spec.train_spec import TrainSpec

# words: found anywhere in the text; text: the whole text; choice: one of a few; list: numbers with commas
Kind = Literal["words", "text", "choice", "tags", "number", "flag", "time", "list"]
NO_DEFAULT = object()
CONFIG = "config/"  # before the names of a script's settings
STATUSES = {
    **{str(status): (status,) for status in Status},
    "active": (Status.STARTING, Status.RUNNING, Status.STOPPING),
    "ended": (Status.FINISHED, Status.STOPPED, Status.FAILED),
}
METRIC = re.compile(r"[A-Za-z][\w.@-]*(/[\w.@-]+)+")
METRICS_WITHOUT_SLASH = ("parameters", "suggested_lr")  # of the summary


class UnknownField(ValueError):
    """There is no field of that name. The message is for people."""


@dataclass(frozen=True)
class RunField:
    """`column` is an expression of the run's row; None for settings and metrics, which are rows of RunValue.

    A setting has a `default`, the value of runs whose spec is older than the setting.
    """

    name: str
    kind: Kind
    column: Any = None
    default: Any = NO_DEFAULT
    description: str = ""

    @property
    def is_number(self) -> bool:
        return self.kind in ("number", "flag")

    @property
    def is_metric(self) -> bool:
        return self.column is None and self.default is NO_DEFAULT

    @property
    def is_setting(self) -> bool:
        return self.default is not NO_DEFAULT


def _column(name: str, kind: Kind, column: Any, description: str) -> RunField:
    return RunField(name, kind, column, description=description)


DURATION = extract("epoch", col(Run.finished_at)) - extract("epoch", col(Run.started_at))
PROGRESS = cast(Run.step, Float) / func.nullif(col(Run.total_steps), 0)

COLUMNS = {
    field.name: field
    for field in (
        _column("status", "choice", Run.status, "queued, starting, running, …; or active, ended"),
        _column("name", "words", Run.name, "part of the name"),
        _column("notes", "words", Run.notes, "part of the notes"),
        _column("tag", "tags", Run.tags, "a tag"),
        _column("group", "text", Run.group, "the group"),
        _column("project", "text", func.nullif(Run.project, ""), "the project"),
        _column("source", "text", Run.source, "script, or trackside for runs of its own trainer"),
        _column("dataset", "text", Run.dataset, "the dataset"),
        _column("preset", "text", Run.preset, "the preset"),
        _column("model", "text", Run.model, "the network"),
        _column("device", "text", Run.device, "the device"),
        _column("id", "text", Run.id, "the id"),
        _column("parent", "text", Run.parent, "the id of the run that it was cloned from"),
        _column("starred", "flag", Run.starred, "yes or no"),
        _column("best", "number", Run.best_acc, "best validation accuracy, such as 0.7 or 70%"),
        _column("epoch", "number", Run.epoch, "epochs done"),
        _column("step", "number", Run.step, "steps done"),
        _column("progress", "number", PROGRESS, "share of the steps done"),
        _column("throughput", "number", Run.throughput, "images per second"),
        _column("duration", "number", DURATION, "seconds from start to end"),
        _column("created", "time", Run.created_at, "a day, such as 2026-01-31, in UTC"),
        _column("started", "time", Run.started_at, "a day, in UTC"),
        _column("finished", "time", Run.finished_at, "a day, in UTC"),
    )
}
ALIASES = {
    "created_at": "created",
    "started_at": "started",
    "finished_at": "finished",
    "best_acc": "best",
    "tags": "tag",
}


@cache
def settings() -> Mapping[str, RunField]:
    """The settings of runs by their dotted names, in the order of the spec."""
    defaults = flatten(TrainSpec(dataset=DatasetSpec(name="any")))
    return {name: RunField(name, _kind_of(name, value), default=value) for name, value in defaults.items()}


def _kind_of(name: str, default: Any) -> Kind:
    if isinstance(default, bool):
        return "flag"
    if isinstance(default, list):
        return "list"
    return "number" if number_type(name) is not None else "text"


@cache
def short_names() -> Mapping[str, str]:
    """The settings' dotted names by their short ones: the last part where only one has it, and usual abbreviations."""
    last = Counter(name.rsplit(".", 1)[-1] for name in settings())
    found = {name.rsplit(".", 1)[-1]: name for name in settings() if last[name.rsplit(".", 1)[-1]] == 1}
    return found | {short: name for name, short in SHORT_WORDS.items()}


def field_named(name: str) -> RunField:
    """Return a column, a setting (also by its short name) or a metric. Raises UnknownField."""
    name = ALIASES.get(name, name)
    if (column := COLUMNS.get(name)) is not None:
        return column
    if (setting := settings().get(short_names().get(name, name))) is not None:
        return setting
    if METRIC.fullmatch(name) or name in METRICS_WITHOUT_SLASH:
        return RunField(name, "number")
    raise UnknownField(_unknown(name))


def _unknown(name: str) -> str:
    several = [full for full in settings() if full.rsplit(".", 1)[-1] == name]
    if several:
        return f"{name!r} is ambiguous: write {' or '.join(several)}"
    near = get_close_matches(name, [*COLUMNS, *short_names(), *settings()], n=1)
    meant = f"; did you mean {near[0]!r}?" if near else ""
    return f"there is no field {name!r}{meant}"
