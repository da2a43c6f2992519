"""The pages of reports, and what their forms do."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Request, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import RedirectResponse

from app.errors import ApiError
from app.reports.blocks import blocks_of
from app.reports.documents import document_of
from app.reports.store import NewReport, ReportPatch, Reports
from app.runs.runs import Runs
from app.storage.changes import current_seq
from app.storage.db import Database
from app.web.forms import checked, render, texts
from app.web.reports.view import Document, EditPage, ReportPage, ReportsPage, document_view
from app.web.root import root
from app.web.services import DatabaseDep, ReportsDep, RunsDep

router = APIRouter(include_in_schema=False)
EXAMPLE = """Write what was tried and what came of it, in Markdown.

```chart
title: Validation accuracy
{runs}
series: val/acc
```

```runs
{runs}
columns: best, duration
```
"""


def document(text: str, runs: Runs, database: Database) -> Document:
    """Return what the text shows now. Raises ApiError 422: a block has a mistake."""
    with database.read() as session:
        seq = current_seq(session)
    return document_view(document_of(blocks_of(text), runs), seq)


@router.get("/reports")
def index(request: Request, reports: ReportsDep) -> Response:
    return render(request, "reports/index.html", ReportsPage(tuple(reports.all())))


@router.get("/reports/new")
def new(request: Request, runs: Annotated[str, Query(max_length=1000)] = "") -> Response:
    """A form with an example, of the `runs` if some are given."""
    named = ", ".join(filter(None, runs.split(",")))
    example = EXAMPLE.format(runs=f"runs: {named}" if named else "find: status:finished\nlimit: 5\nsort: -best")
    return render(request, "reports/edit.html", EditPage(None, text=example))


@router.post("/reports/preview")
async def preview(request: Request, runs: RunsDep, database: DatabaseDep) -> Response:
    """Draw a text that is not saved."""
    text = texts(await request.form()).get("text", "")
    shown = await run_in_threadpool(document, text.replace("\r\n", "\n"), runs, database)
    return render(request, "reports/_document.html", None, document=shown)


@router.get("/reports/{report_id}")
def show(request: Request, report_id: str, reports: ReportsDep, runs: RunsDep, database: DatabaseDep) -> Response:
    report = reports.get(report_id)
    return render(request, "reports/show.html", ReportPage(report, document(report.text, runs, database)))


@router.get("/reports/{report_id}/edit")
def edit(request: Request, report_id: str, reports: ReportsDep) -> Response:
    report = reports.get(report_id)
    return render(request, "reports/edit.html", EditPage(report, report.title, report.text, report.version))


@router.post("/reports")
async def create(request: Request, reports: ReportsDep) -> Response:
    typed = texts(await request.form())
    return await run_in_threadpool(_save, request, reports, None, typed)


@router.post("/reports/{report_id}")
async def save(request: Request, report_id: str, reports: ReportsDep) -> Response:
    typed = texts(await request.form())
    return await run_in_threadpool(_save, request, reports, report_id, typed)


@router.post("/reports/{report_id}/delete")
def delete(report_id: str, reports: ReportsDep) -> Response:
    reports.delete(report_id)
    return RedirectResponse(f"{root()}/reports", 303)


def _save(request: Request, reports: Reports, report_id: str | None, typed: dict[str, str]) -> Response:
    """Save what was typed; upon a mistake, show the form again with it."""
    kept = None if report_id is None else reports.get(report_id)
    title, text, version = typed.get("title", ""), typed.get("text", ""), typed.get("version", "0")
    try:
        if kept is None:
            saved = reports.add(checked(NewReport, {"title": title, "text": text}))
        else:
            saved = reports.change(kept.id, checked(ReportPatch, {"title": title, "text": text, "version": version}))
    except ApiError as error:
        number = int(version) if version.isascii() and version.isdigit() and len(version) < 10 else 0
        return render(request, "reports/edit.html", EditPage(kept, title, text, number, error.message), error.status)
    return RedirectResponse(f"{root()}/reports/{saved.id}", 303)
