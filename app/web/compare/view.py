"""The template context of `/compare`, with its texts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal
from urllib.parse import urlencode

from app.datasets.datasets import Datasets
from app.display.formatting import setting
from app.display.labels import short_word
from app.metrics.reader import Metrics
from app.models.registry import MOST_MEMBERS
from app.results.comparison import MOST_RUNS, Compared, Comparison, compare
from app.runs.projects import projects_of
from app.runs.public import RunPublic
from app.runs.query import RunQuery
from app.runs.runs import Runs
from app.storage.db import Database
from app.storage.tables import Source
from app.web.compare.pairs import GroupLine, PairLine, group_line, pair_line, untested_reasons
from app.web.compare.parallel import parallel_of
from app.web.compare.tables import INCOMPARABLE_FIELDS, TableRow, are_scripts, outcome_rows, setting_rows
from app.web.root import root

XAxis = Literal["epoch", "step", "time"]
SERIES: tuple[tuple[str, str], ...] = (
    ("val/acc", "Validation accuracy"),
    ("val/loss", "Validation loss"),
    ("train/loss", "Training loss"),
)
AXES: tuple[tuple[XAxis, str], ...] = (("epoch", "by epoch"), ("step", "by step"), ("time", "by time"))
MAX_CHOICES = 40
MOST_BUTTONS = 4
MOST_SERIES = 1_000


@dataclass(frozen=True)
class ComparePage:
    """`/compare`. `slots` are run ids by color, "" for a free slot; `choices` are runs that can be added, of `project`.

    `labels` say how each run differs from the others, by id; `parallel` is a Parallel as JSON; `others` are the
    names of further series.
    """

    slots: tuple[str, ...]
    series: str
    x: XAxis
    runs: tuple[Compared, ...]
    outcomes: tuple[TableRow, ...]
    settings: tuple[TableRow, ...]
    groups: tuple[GroupLine, ...]
    pairs: tuple[PairLine, ...]
    untested: tuple[tuple[str, int], ...]
    choices: tuple[RunPublic, ...]
    seq: int
    labels: Mapping[str, str]
    parallel: str
    others: tuple[str, ...] = ()
    projects: tuple[str, ...] = ()
    project: str = ""
    section: str = "runs"

    @property
    def joined(self) -> str:
        return ",".join(self.slots)

    @property
    def ids(self) -> str:
        return ",".join(run.id for run in self.runs)

    @property
    def can_join(self) -> bool:
        """Whether the runs can be registered as an ensemble."""
        few = 1 < len(self.runs) <= MOST_MEMBERS and not self.is_mixed
        return few and all(run.best_step and run.source == Source.TRACKSIDE for run in self.runs)

    @property
    def series_options(self) -> tuple[tuple[str, str], ...]:
        """The series that have a button: those of Trackside's trainer, or the losses that the scripts log."""
        return _usual_series(self.runs)

    @property
    def axes(self) -> tuple[tuple[XAxis, str], ...]:
        return tuple(axis for axis in AXES if axis[0] != "epoch" or not are_scripts(self.runs))

    @property
    def series_title(self) -> str:
        return dict(self.series_options).get(self.series, self.series)

    @property
    def is_full(self) -> bool:
        return len(self.runs) >= MOST_RUNS

    @property
    def is_mixed(self) -> bool:
        """Whether accuracies cannot be compared, because datasets or targets (classes, superclasses) differ."""
        return any(row.title in INCOMPARABLE_FIELDS for row in self.settings)

    @property
    def significant_pairs(self) -> tuple[PairLine, ...]:
        return tuple(pair for pair in self.pairs if not pair.not_significant)

    @property
    def other_pairs(self) -> tuple[PairLine, ...]:
        """The pairs that do not differ significantly."""
        return tuple(pair for pair in self.pairs if pair.not_significant)

    @property
    def significance(self) -> str:
        """The result of the paired tests in one sentence."""
        tested, differ = len(self.pairs), len(self.significant_pairs)
        if tested == 1:
            return f"The two runs {'differ' if differ else 'do not differ'} significantly."
        if differ == 0:
            return f"None of the {tested} pairs of runs differs significantly."
        if differ == tested:
            return f"All {tested} pairs of runs differ significantly."
        return f"{differ} of {tested} pairs of runs differ significantly."

    @property
    def expected_false_positives(self) -> str:
        """The expected number of false positives at p < 0.05 if no runs differ; "" below one."""
        expected = len(self.pairs) / 20
        return f"{expected:.0f}" if expected >= 1 else ""

    @property
    def usual_series(self) -> str:
        return self.series_options[0][0]

    @property
    def usual_x(self) -> XAxis:
        return _usual_x(self.runs)

    def link(self, without: str = "", **changed: str) -> str:
        """The URL of this page with changed parameters, or without one run; the other runs keep their colors."""
        slots = ["" if item == without else item for item in self.slots]
        while slots and not slots[-1]:
            slots.pop()
        kept = {"series": self.series, "x": self.x} | changed
        usual = {"series": self.usual_series, "x": self.usual_x}
        query = {name: value for name, value in kept.items() if value != usual[name]}
        return root() + "/compare?" + urlencode({"runs": ",".join(slots), **query}, safe=",/")


def compare_page(
    database: Database,
    runs: Runs,
    datasets: Datasets,
    slots: Sequence[str],
    series: str = "",
    x: XAxis | None = None,
    project: str = "",
    *,
    choices: bool = True,
) -> ComparePage:
    """Return the page's context. Without `series` and `x`, the usual ones of the runs are shown."""
    found = compare(database, runs, datasets, slots)
    by_id = {run.id: run for run in found.runs}
    listed = runs.list(RunQuery(limit=MAX_CHOICES, project=project or None)).items if choices else []
    tested = [pair_line(pair, by_id) for pair in found.pairs if pair.verdict is not None]
    return ComparePage(
        slots=tuple(slots),
        series=series or _usual_series(found.runs)[0][0],
        x=x or _usual_x(found.runs),
        projects=tuple(projects_of(database)) if choices else (),
        project=project,
        runs=tuple(found.runs),
        outcomes=outcome_rows(found),
        settings=setting_rows(found),
        groups=tuple(group_line(group, by_id) for group in found.groups),
        pairs=tuple(sorted(tested, key=lambda pair: not pair.not_significant)),
        untested=untested_reasons(found.pairs),
        choices=tuple(run for run in listed if run.id not in by_id),
        seq=found.seq,
        labels=what_differs(found),
        parallel=parallel_of(found).model_dump_json(),
        others=_other_series(database, found.runs),
    )


def _usual_series(runs: Sequence[Compared]) -> tuple[tuple[str, str], ...]:
    """The losses of the scripts, by name, if there are no other runs; else those of Trackside's trainer."""
    if not are_scripts(runs):
        return SERIES
    names = [run.losses[split] for split in ("val", "train") for run in runs if split in run.losses]
    return tuple((name, name) for name in list(dict.fromkeys(names))[:MOST_BUTTONS]) or SERIES


def _usual_x(runs: Sequence[Compared]) -> XAxis:
    return "step" if are_scripts(runs) else "epoch"


def what_differs(found: Comparison) -> dict[str, str]:
    """Return what sets each run apart from the others of its preset, by id; the name of a run if nothing does."""
    presets = {run.preset for run in found.runs}
    labels = {}
    for run in found.runs:
        peers = [other for other in found.runs if other.preset == run.preset]
        parts = [run.preset or "no preset"] if len(presets) > 1 else []
        for item in found.settings:
            differs = any(item.values[other.id] != item.values[run.id] for other in peers)
            if differs and item.field != "preset":
                parts.append(f"{short_word(item.field)} {setting(item.values[run.id])}")
        is_script = run.source == Source.SCRIPT  # which may have very many settings, and texts among them
        labels[run.id] = run.name if is_script else " · ".join(parts) or run.name
    return labels


def _other_series(database: Database, runs: Sequence[Compared]) -> tuple[str, ...]:
    """Return the names of the series that any of the runs has, without those that have a button."""
    names = {name for run in runs for name in Metrics(database).names(run.id)}
    return tuple(sorted(names - dict(_usual_series(runs)).keys()))[:MOST_SERIES]
