"""The API of reports."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Response
from pydantic import BaseModel

from app.reports.store import NewReport, Report, ReportPatch
from app.web.errors import described
from app.web.services import ReportsDep

router = APIRouter(prefix="/api/reports", tags=["reports"])
CREATED: dict[int | str, dict[str, Any]] = {
    201: {"headers": {"Location": {"description": "The new report", "schema": {"type": "string"}}}}
}
NO_REPORT = described({404: "No such report"})


class ReportSummary(BaseModel):
    id: str
    title: str
    version: int
    created: float
    updated: float


@router.post("", status_code=201, responses=CREATED | described({409: "Too many reports"}))
def create(body: NewReport, reports: ReportsDep, response: Response) -> Report:
    """Write a report: Markdown, in which blocks named `chart` and `runs` are drawn from the runs as they are."""
    report = reports.add(body)
    response.headers["Location"] = f"/api/reports/{report.id}"
    return report


@router.get("")
def list_reports(reports: ReportsDep) -> list[ReportSummary]:
    return [ReportSummary(**report.model_dump()) for report in reports.all()]


@router.get("/{report_id}", responses=NO_REPORT)
def get(report_id: str, reports: ReportsDep) -> Report:
    return reports.get(report_id)


@router.patch("/{report_id}", responses=NO_REPORT | described({409: "It was changed meanwhile"}))
def change(report_id: str, body: ReportPatch, reports: ReportsDep) -> Report:
    return reports.change(report_id, body)


@router.delete("/{report_id}", status_code=204, responses=NO_REPORT)
def delete(report_id: str, reports: ReportsDep) -> None:
    reports.delete(report_id)
