"""What a share link may be created to, and what it shows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, model_validator

from app.auth.shares import Kind, Share
from app.errors import ApiError, not_found
from app.fields import Line, RequestBody
from app.reports.blocks import MOST_LINES, blocks_of
from app.reports.documents import document_of, runs_of
from app.reports.store import Reports
from app.runs.runs import Runs

LONGEST_DAYS = 3650


def _separated(value: Any) -> Any:
    return [name for name in value.split(",") if name] if isinstance(value, str) else value


class NewShare(RequestBody):
    """Exactly one of `run`, `compare` and `report`."""

    run: Line | None = None
    compare: Annotated[
        Annotated[list[Line], Field(min_length=1, max_length=MOST_LINES)] | None,
        BeforeValidator(_separated),
        Field(description="Ids of runs; also as one text, separated by commas."),
    ] = None
    report: Line | None = None
    days: Annotated[int | None, Field(ge=1, le=LONGEST_DAYS, description="It expires after them; null: never.")] = None

    @model_validator(mode="after")
    def is_of_one_thing(self) -> NewShare:
        if sum(item is not None for item in (self.run, self.compare, self.report)) != 1:
            raise ValueError("needs exactly one of run, compare and report")
        return self


@dataclass(frozen=True)
class Target:
    """What a link may show: the id of a run or report, or those of the runs of a comparison, separated by commas."""

    kind: Kind
    target: str
    title: str


def target_of(asked: NewShare, runs: Runs, reports: Reports) -> Target:
    """Raises ApiError 404: there is no such run or report."""
    if asked.report is not None:
        return Target("report", asked.report, reports.get(asked.report).title)
    ids: Sequence[str] = list(dict.fromkeys(asked.compare or [asked.run or ""]))
    names = runs.names(ids)
    for run_id in ids:
        if run_id not in names:
            raise not_found("run", run_id)
    title = names[ids[0]] if len(ids) == 1 else f"{names[ids[0]]} and {len(ids) - 1} more"
    return Target("run" if asked.run is not None else "compare", ",".join(ids), title)


def shown_runs(share: Share, reports: Reports, runs: Runs) -> frozenset[str]:
    """Return the ids of the runs that the link shows now; none if what it showed was deleted."""
    if share.kind != "report":
        return frozenset(share.target.split(","))
    try:
        report = reports.get(share.target)
        return frozenset(runs_of(document_of(blocks_of(report.text), runs)))
    except ApiError:
        return frozenset()
