"""The template context of the runs page, and the parameters of its URL."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from urllib.parse import urlencode

from starlette.datastructures import QueryParams

from app.display.formatting import count, metric, percent
from app.display.labels import setting_label
from app.results.comparison import MOST_RUNS
from app.runs.groups import BEST, GROUPABLE_COLUMNS, Figures, Group
from app.runs.run_fields import COLUMNS, RunField, UnknownField, field_named, settings, short_names
from app.runs.sections import Sections
from app.runs.views import View
from app.storage.tables import Status
from app.web.root import root
from app.web.runs.columns import Choice, Column, value_text
from app.web.runs.folds import FoldsView
from app.web.runs.lanes import Lane
from app.web.runs.rows import Row

FILTERS = ("status", "project", "dataset", "q", "tag", "group", "model", "starred")
PLACES = ("cursor", "page", "queue")  # where one is in the list: a new filter begins at its start
PARAMETERS = (*FILTERS, "sort", "group_by", "cols", *PLACES)
ORDERS = (("", "newest first"), ("-best", "best first"), ("name", "by name"), ("-finished", "last finished"))


@dataclass(frozen=True)
class Asked:
    """The parameters of the URL: "" for one that is not set. `opened` are the tokens of the groups that are open."""

    values: Mapping[str, str]
    opened: tuple[str, ...] = ()

    @classmethod
    def of(cls, given: QueryParams) -> Asked:
        values = {name: given.get(name, "").strip() for name in PARAMETERS}
        values |= {name: _full_name(values[name]) for name in ("sort", "group_by")}
        return cls(values, tuple(given.getlist("open")))

    def __getitem__(self, name: str) -> str:
        return self.values[name]

    @property
    def page(self) -> int:
        text = self["page"]
        return max(1, int(text)) if text.isascii() and text.isdigit() and len(text) < 7 else 1

    @property
    def query(self) -> dict[str, str]:
        """What a RunQuery is made of."""
        names = (*FILTERS, "sort", "cursor")
        return {name: self[name] for name in names if self[name]}

    def link(self, opened: Sequence[str] | None = None, **changed: str | None) -> str:
        """The URL of this page with some parameters changed; PLACES are dropped unless they are given."""
        kept = {name: value for name, value in self.values.items() if name not in PLACES} | changed
        pairs = [(name, value) for name, value in kept.items() if value]
        if kept["group_by"]:
            pairs += [("open", token) for token in (self.opened if opened is None else opened)]
        return f"{root()}/?{urlencode(pairs)}" if pairs else f"{root()}/"


def _full_name(text: str) -> str:
    """Return the name of a field, perhaps after a minus, in full; other texts as they are."""
    name = text.removeprefix("-")
    with suppress(UnknownField):
        return text[: len(text) - len(name)] + field_named(name).name if name else text
    return text


@dataclass(frozen=True)
class Section:
    """`shown` may be fewer than `count`."""

    name: str
    title: str
    rows: tuple[Row, ...]
    count: int


@dataclass(frozen=True)
class GroupView:
    """A group with its figures as texts by column. Its links open or close it, and show its runs alone."""

    group: Group
    field: str
    label: str
    figures: Mapping[str, tuple[str, str]]  # mean and spread, best
    toggle: str
    alone: str
    rows: tuple[Row, ...]

    @property
    def is_open(self) -> bool:
        return bool(self.rows)

    @property
    def newest(self) -> datetime:
        return self.group.newest


def group_view(asked: Asked, by: RunField, group: Group, places: Mapping[str, int]) -> GroupView:
    label = value_text(group.value, flag=by.kind == "flag")
    others = tuple(token for token in asked.opened if token != group.token)
    value = "none" if group.value is None else quoted(group.token)
    return GroupView(
        group=group,
        field=setting_label(by.name) if by.is_setting else by.name,
        label=label,
        figures={name: _figures(name, figures) for name, figures in group.figures.items()},
        toggle=asked.link(others if group.runs else (*others, group.token)),
        alone=asked.link((), group_by="", q=f"{asked['q']} {short(by)}:{value}".strip()),
        rows=tuple(Row(run, places.get(run.id)) for run in group.runs),
    )


def short(by: RunField) -> str:
    """The shortest name by which the search knows the field."""
    return min((short for short, name in short_names().items() if name == by.name), key=len, default=by.name)


def quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"' if not text or any(not (c.isalnum() or c in "._-+") for c in text) else text


def _figures(name: str, figures: Figures) -> tuple[str, str]:
    if figures.mean is None:
        return "", ""
    if name == BEST:
        spread = "" if figures.sd is None else f" ± {percent(figures.sd)}"
        return f"{percent(figures.mean)}{spread}", percent(figures.best)
    spread = "" if figures.sd is None else f" ± {metric(name, figures.sd)}"
    return f"{metric(name, figures.mean)}{spread}", metric(name, figures.best)


@dataclass(frozen=True)
class RunsPageView:
    """`/`. `total` is the number of all runs, `matching` that of the runs that the filters leave.

    `problem` says why the search cannot be read; nothing is listed then. There are `sections`, or `groups`. `folds`
    are the cross-validations of the group that is shown.
    """

    asked: Asked
    lanes: tuple[Lane, ...]
    choice: Choice
    offered: Mapping[str, Sequence[tuple[str, str]]]
    datasets: tuple[str, ...]
    projects: tuple[str, ...]
    views: tuple[View, ...]
    total: int
    seq: int
    matching: int = 0
    sections: tuple[Section, ...] = ()
    groups: tuple[GroupView, ...] = ()
    group_count: int = 0
    next_link: str | None = None
    problem: str = ""
    folds: tuple[FoldsView, ...] = ()
    section: str = field(default="runs", init=False)

    @property
    def same_names(self) -> frozenset[str]:
        """The names that runs of different groups have: only the group tells these runs apart."""
        groups: dict[str, set[str | None]] = {}
        for rows in (*(section.rows for section in self.sections), *(group.rows for group in self.groups)):
            for row in rows:
                groups.setdefault(row.run.name, set()).add(row.run.group)
        return frozenset(name for name, found in groups.items() if len(found) > 1)

    @property
    def statuses(self) -> tuple[str, ...]:
        return tuple(Status)

    @property
    def orders(self) -> tuple[tuple[str, str], ...]:
        sort = self.asked["sort"]
        known = sort in {value for value, _ in ORDERS}
        return ORDERS if known else (*ORDERS, (sort, f"by {sort.removeprefix('-')}"))

    @property
    def groupings(self) -> Sequence[tuple[str, Sequence[tuple[str, str]]]]:
        """What runs can be grouped by, as (value, label) under a heading."""
        offered = (name for name in settings() if not name.startswith("thresholds."))
        by_setting = tuple((name, setting_label(name)) for name in offered)
        return (("Run", tuple((name, name) for name in GROUPABLE_COLUMNS)), ("Setting", by_setting))

    @property
    def counted(self) -> str:
        """The count of what is shown, in words."""
        runs = "run" if self.total == 1 else "runs"
        groups = f" in {count(self.group_count)} groups" if self.groups else ""
        among = f"{count(self.matching)} of " if self.is_filtered else ""
        return f"{among}{count(self.total)} {runs}{groups}"

    @property
    def fields(self) -> Sequence[tuple[str, str]]:
        """The fields of a search that are not settings or metrics, with a description."""
        return tuple((name, column.description) for name, column in COLUMNS.items())

    @property
    def is_filtered(self) -> bool:
        return any(self.asked[name] for name in FILTERS)

    @property
    def is_first_page(self) -> bool:
        return not self.asked["cursor"] and self.asked.page == 1

    @property
    def columns(self) -> tuple[Column, ...]:
        return self.choice.columns

    @property
    def compare_link(self) -> str | None:
        """The comparison of the runs that the filters leave; None if they are too many, or not all are shown."""
        shown = [row.run.id for section in self.sections for row in section.rows]
        few = self.is_filtered and len(shown) == self.matching and 2 <= len(shown) <= MOST_RUNS
        return f"{root()}/compare?runs={','.join(shown)}" if few else None

    @property
    def most_compared(self) -> int:
        return MOST_RUNS

    @property
    def queue_link(self) -> str | None:
        """The link that shows the whole queue, or its first runs again; None where all of it is shown anyway."""
        if self.asked["queue"]:
            return self.asked.link()
        shown = next((section for section in self.sections if section.name == "queued"), None)
        return None if shown is None or len(shown.rows) >= shown.count else self.asked.link(queue="all")

    def sorted_by(self, sort: str) -> str:
        """The value of aria-sort of a column whose first click sorts by `sort`; empty if another one is sorted."""
        now = self.asked["sort"]
        if now.removeprefix("-") != sort.removeprefix("-"):
            return ""
        return "descending" if now.startswith("-") else "ascending"

    def sort_link(self, sort: str) -> str:
        now, name = self.asked["sort"], sort.removeprefix("-")
        if now.removeprefix("-") != name:
            return self.asked.link(sort=sort)
        return self.asked.link(sort=name if now.startswith("-") else f"-{name}")


def sections_view(found: Sections, places: Mapping[str, int], there: int | None) -> tuple[Section, ...]:
    """The sections that have runs. `there`: the most devices of a machine, if a queued run is on several."""
    parts = (
        ("active", "Running", found.active, found.count_active),
        ("queued", "Queue", found.queued, found.count_queued),
        ("ended", "Ended", found.ended, found.count_ended),
    )
    return tuple(
        Section(name, title, tuple(Row(run, places.get(run.id), there) for run in runs), total)
        for name, title, runs, total in parts
        if runs
    )
