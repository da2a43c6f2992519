"""The columns of the list of runs: which ones a person can choose, what they are called, and what is in their cells."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

from app.display.formatting import count, duration, metric, number, setting
from app.display.labels import setting_label
from app.runs.public import RunPublic, took
from app.runs.run_fields import UnknownField, field_named, settings

NAME_WIDTH = 240
NARROWEST, WIDEST = 48, 800
MOST_COLUMNS = 40
COOKIE = "runs_columns"


@dataclass(frozen=True)
class Column:
    """`sort` is what the list is sorted by upon the first click, None if it cannot be. `kind` picks how it is drawn."""

    id: str
    label: str
    width: int
    sort: str | None = None
    kind: str = "text"
    title: str = ""

    @property
    def is_number(self) -> bool:
        return self.kind in ("best", "metric", "setting number", "number")

    @property
    def is_special(self) -> bool:
        return self.kind in ("status", "changed", "curve", "best", "progress", "tags", "time")


BUILT_IN = {
    column.id: column
    for column in (
        Column("status", "Status", 100, "status", "status"),
        Column("changed", "Settings changed", 176, None, "changed"),
        Column("curve", "Loss", 120, None, "curve", "Training and validation loss over the run"),
        Column(
            "best",
            "Best validation, %",
            144,
            "-best",
            "best",
            "Best validation accuracy, in percent, with its 95% interval",
        ),
        Column("progress", "Progress", 176, "-progress", "progress"),
        Column("started", "Started", 88, "-started", "time"),
        Column("project", "Project", 120, "project"),
        Column("dataset", "Dataset", 96, "dataset"),
        Column("tags", "Tags", 96, "tag", "tags"),
        Column("group", "Group", 160, "group"),
        Column("preset", "Preset", 120, "preset"),
        Column("model", "Model", 120, "model"),
        Column("device", "Device", 80, "device"),
        Column("duration", "Duration", 88, "-duration", "number"),
        Column("created", "Created", 92, "-created", "time"),
        Column("finished", "Finished", 92, "-finished", "time"),
        Column("epoch", "Epoch", 72, "-epoch", "number"),
        Column("step", "Step", 80, "-step", "number"),
        Column("throughput", "Images/s", 84, "-throughput", "number"),
        Column("notes", "Notes", 200),
        Column("id", "Id", 104, "id"),
    )
}
DEFAULT = ("status", "changed", "curve", "best", "progress", "started", "dataset", "tags")
METRICS = (
    "val/loss", "val/acc", "val/acc5", "val/coarse_acc", "val/macro_f1", "val/balanced_acc", "test/loss", "test/acc",
    "test/acc5", "test/coarse_acc", "test/macro_f1", "test/balanced_acc", "last/test/acc", "parameters",
)  # fmt: skip


@dataclass(frozen=True)
class Choice:
    """The chosen columns, and the least width of the name. `is_default` if nothing was chosen."""

    columns: tuple[Column, ...]
    name_width: int = NAME_WIDTH
    is_default: bool = True

    @property
    def text(self) -> str:
        """The choice as the `cols` of the URL."""
        parts = [] if self.name_width == NAME_WIDTH else [f"name~{self.name_width}"]
        for column in self.columns:
            known = column_of(column.id)
            parts.append(column.id if known and known.width == column.width else f"{column.id}~{column.width}")
        return ",".join(parts)

    @property
    def metrics(self) -> tuple[str, ...]:
        return tuple(column.id for column in self.columns if column.kind == "metric")


def chosen(text: str | None) -> Choice:
    """Read `cols`, such as `status,best,optimizer.lr~80`; what is not a column is left out."""
    if not text:
        return Choice(tuple(BUILT_IN[name] for name in DEFAULT))
    found: dict[str, Column] = {}
    name_width = NAME_WIDTH
    for part in text.split(",")[:MOST_COLUMNS]:
        name, _, width = part.strip().partition("~")
        if name == "name":
            name_width = _width(width, NAME_WIDTH, least=NAME_WIDTH)
        elif (column := column_of(name)) is not None:
            found[column.id] = replace(column, width=_width(width, column.width))
    return Choice(tuple(found.values()), name_width, is_default=False)


def _width(text: str, default: int, least: int = NARROWEST) -> int:
    return min(WIDEST, max(least, int(text))) if text.isascii() and text.isdigit() and len(text) < 6 else default


@lru_cache(maxsize=1000)
def column_of(name: str) -> Column | None:
    """Return a built-in column, or that of a setting (also by its short name) or a metric."""
    if name in BUILT_IN:
        return BUILT_IN[name]
    try:
        field = field_named(name)
    except UnknownField:
        return None
    if field.is_setting:
        kind = "setting number" if field.kind == "number" else "setting"
        return Column(field.name, setting_label(field.name), 96, field.name, kind, title=f"the setting {field.name}")
    if field.is_metric:
        sort = field.name if field.name.endswith("loss") else f"-{field.name}"
        return Column(field.name, field.name, 108, sort, "metric", title=f"the metric {field.name}")
    return None


def offered(metrics: Iterable[str]) -> dict[str, Sequence[tuple[str, str]]]:
    """The columns that can be added, as (id, label) under a heading. `metrics` are those that runs have."""
    known = dict.fromkeys([*METRICS, *sorted(metrics)])
    return {
        "Run": [(column.id, column.label) for column in BUILT_IN.values()],
        "Metrics": [(name, name) for name in known],
        "Settings": [(name, setting_label(name)) for name in settings()],
    }


def cell(run: RunPublic, column: Column) -> str:
    """The text of a cell that is not drawn in a way of its own."""
    match column.kind:
        case "metric":
            return metric(column.id, _number(run.summary.get(column.id)))
        case "setting" | "setting number":
            return "" if run.is_script else _setting(run.spec, column.id)
    match column.id:
        case "duration":
            return duration(took(run))
        case "step":
            return count(run.step)
        case "device":
            return run.device_names or ""
        case "throughput":
            return count(None if run.throughput is None else round(run.throughput))
        case name:
            value = getattr(run, name)
            return "" if value is None else str(value)


def _number(value: Any) -> float | None:
    """A script's summary may hold texts."""
    return value if isinstance(value, int | float) else None


def value_text(value: str | float | None, *, flag: bool = False) -> str:
    """Format what the runs of a group have in common."""
    if value is None or value == "":
        return "none"
    if isinstance(value, str):
        return value
    if flag:
        return setting(bool(value))
    return str(int(value)) if value.is_integer() and abs(value) < 1e15 else number(value)


def _setting(spec: Mapping[str, Any], name: str) -> str:
    value: Any = spec
    for part in name.split("."):
        if not isinstance(value, Mapping) or part not in value:
            return setting(settings()[name].default)
        value = value[part]
    return setting(value)
