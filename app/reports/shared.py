"""What a share link shows."""

from __future__ import annotations

from app.auth.shares import Share
from app.errors import ApiError
from app.reports.blocks import blocks_of
from app.reports.documents import document_of, runs_of
from app.reports.store import Reports
from app.runs.runs import Runs


def shown_runs(share: Share, reports: Reports, runs: Runs) -> frozenset[str]:
    """Return the ids of the runs that the link shows now; none if what it showed was deleted."""
    if share.kind != "report":
        return frozenset(share.target.split(","))
    try:
        report = reports.get(share.target)
        return frozenset(runs_of(document_of(blocks_of(report.text), runs)))
    except ApiError:
        return frozenset()
