"""The page of all share links, and the page that a link opens."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated

from fastapi import APIRouter, Query, Request, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import RedirectResponse

from app.auth.shares import Kind, Share
from app.errors import ApiError, not_found
from app.reports.blocks import blocks_of
from app.reports.documents import chart_over, charts_of, document_of
from app.reports.shared import NewShare, Target, target_of
from app.runs.public import RunPublic
from app.runs.script_data import ScriptData
from app.runs.setup import setup_of
from app.storage.changes import current_seq
from app.web.compare.view import compare_page
from app.web.forms import checked, render, texts
from app.web.reports.view import ReportPage, document_view
from app.web.root import root
from app.web.runs.script_view import ScriptPageView
from app.web.runs.view import RunPageView
from app.web.services import (
    DatabaseDep,
    DatasetsDep,
    MetricsDep,
    ReportsDep,
    RunsDep,
    ScriptDataDep,
    SettingsDep,
    SharesDep,
)
from app.web.shares.routes import address_of

router = APIRouter(include_in_schema=False)
Asked = Annotated[str, Query(max_length=1000)]
NO_STORE = {"Cache-Control": "no-store"}
KINDS: Mapping[Kind, str] = {"run": "run", "compare": "comparison", "report": "report"}
SHOWN: Mapping[Kind, str] = {
    "run": "It shows the curves, results, settings and notes, but neither the log, the files nor the environment.",
    "compare": "It shows the curves, the metrics and the settings that differ.",
    "report": "It shows the report as it is at the time, and the curves of the runs in it.",
}


@dataclass(frozen=True)
class SharesPage:
    """`asked` is what a link may be created to; `made` the address of one just created, which is shown this once."""

    shares: tuple[Share, ...]
    asked: Target | None = None
    made: str = ""
    title: str = ""
    section: str = "system"


@router.get("/shares")
def index(
    request: Request,
    shares: SharesDep,
    runs: RunsDep,
    reports: ReportsDep,
    run: Asked = "",
    compare: Asked = "",
    report: Asked = "",
) -> Response:
    """All links. With `run`, `compare` or `report`, a form for a new one above them."""
    asked = {name: value for name, value in (("run", run), ("compare", compare), ("report", report)) if value}
    target = target_of(checked(NewShare, asked), runs, reports) if asked else None
    return _page(request, SharesPage(tuple(shares.all()), target))


@router.post("/shares")
async def add(
    request: Request, settings: SettingsDep, shares: SharesDep, runs: RunsDep, reports: ReportsDep
) -> Response:
    """Create a link, and show it on the page of all links."""
    typed = {name: value for name, value in texts(await request.form()).items() if value}
    asked = checked(NewShare, typed)
    target = await run_in_threadpool(target_of, asked, runs, reports)
    share, secret = await run_in_threadpool(shares.add, target.kind, target.target, target.title, asked.days)
    made = address_of(secret, request, settings)
    answer = _page(request, SharesPage(tuple(shares.all()), made=made, title=share.title))
    answer.headers.update(NO_STORE)
    return answer


@router.post("/shares/{share_id}/revoke")
def revoke(share_id: str, shares: SharesDep) -> Response:
    shares.revoke(share_id)
    return RedirectResponse(f"{root()}/shares", 303)


@router.get("/shared")
def shared(
    request: Request,
    database: DatabaseDep,
    runs: RunsDep,
    reports: ReportsDep,
    metrics: MetricsDep,
    datasets: DatasetsDep,
    scripts: ScriptDataDep,
) -> Response:
    """What a link opens. Its path is that of the link: app.web.gate."""
    share: Share | None = getattr(request.state, "share", None)
    if share is None:
        raise not_found("page", "/shared")
    with database.read() as session:
        seq = current_seq(session)
    match share.kind:
        case "report":
            report = reports.get(share.target)
            shown = document_view(document_of(blocks_of(report.text), runs), seq)
            return render(request, "shares/report.html", ReportPage(report, shown))
        case "compare":
            found = runs.some(share.target.split(","))
            if not found:
                raise ApiError(404, "not_found", "The runs of this comparison were deleted.")
            page = compare_page(database, runs, datasets, list(found), choices=False)
            charts = [chart_over(found, title, name, page.labels) for name, title in page.series_options]
            return render(request, "shares/compare.html", page, document=document_view(charts, seq))
        case "run":
            run = runs.get(share.target)
            shown = document_view(charts_of(run, metrics.names(run.id)), seq)
            return render(request, "shares/run.html", _run_page(run, scripts), document=shown)


def _run_page(run: RunPublic, scripts: ScriptData) -> RunPageView | ScriptPageView:
    """Return the context of the run's own page, without what a link does not show: log, files and environment."""
    if run.is_script:
        return ScriptPageView(run, "setup", script=scripts.of(run.id))
    settings, changed, _ = setup_of(run)
    return RunPageView(run, "setup", classes=None, settings=settings, from_preset=changed)


def _page(request: Request, page: SharesPage) -> Response:
    return render(request, "shares/index.html", page, kinds=KINDS, shown=SHOWN)
