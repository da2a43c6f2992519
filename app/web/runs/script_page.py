"""The page of a script run: only what applies to a run that Trackside does not train."""

from __future__ import annotations

from typing import Any

from fastapi import Request, Response

from app.diagnosis.findings import Findings
from app.metrics.reader import Metrics
from app.runs.attempts import attempts_of
from app.runs.public import RunPublic
from app.runs.runs import Runs
from app.runs.script_data import ScriptData
from app.storage.tables import Status
from app.web.forms import render
from app.web.runs.cards import finding_cards
from app.web.runs.script_view import MOST_SERIES, TABS, ScriptPageView
from app.web.runs.view import TAIL_LINES
from trainer.rundir.event_shapes import SCRIPT_SHAPES


def script_page(
    request: Request,
    run: RunPublic,
    tab: str,
    find: str,
    step: int | None,
    runs: Runs,
    metrics: Metrics,
    findings: Findings,
    data: ScriptData,
) -> Response:
    """Render the page. `find` are letters that the names of the series have, `step` is that of the images shown."""
    tab = tab if tab in dict(TABS) else "curves"
    shown: dict[str, Any] = {}
    if tab == "curves":
        names = [name for name in metrics.names(run.id) if find.lower() in name.lower()]
        shown["series"], shown["count_series"] = tuple(names[:MOST_SERIES]), len(names)
        shown["attempts"] = tuple(attempts_of(runs.folder(run.id), SCRIPT_SHAPES))
    if tab == "log":
        shown["lines"] = tuple(runs.log(run.id))
    if tab == "setup":
        shown["script"] = data.of(run.id)
    if tab == "media":
        shown["media_names"] = tuple(data.media_names(run.id))
        shown["media"] = {one.name: data.media(run.id, one.name, step) for one in shown["media_names"]}
    if run.status == Status.FAILED:
        shown["tail"] = tuple(runs.log(run.id)[-TAIL_LINES:])
    cards = finding_cards(findings.of(run.id))
    page = ScriptPageView(run, tab, has_media=data.has_media(run.id), filter=find, cards=cards, **shown)
    return render(request, "runs/script.html", page)
