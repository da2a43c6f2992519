"""Reports: texts with charts and tables of runs. Each is a file of the home, since the database can be rebuilt."""

from __future__ import annotations

import re
import secrets
import time
from pathlib import Path
from typing import Annotated

import orjson
from filelock import FileLock
from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from app.errors import ApiError, not_found
from app.fields import Line, RequestBody, not_empty
from app.reports.blocks import blocks_of
from trainer.system.durable import write_durably

MOST = 1_000
MOST_CHARACTERS = 200_000
_ID = re.compile(r"[0-9a-f]{10}")


def _readable(text: str) -> str:
    """Raises ApiError 422: a block has a mistake."""
    text = text.replace("\r\n", "\n")  # as HTML forms send it
    blocks_of(text)
    return text


Title = Annotated[Line, AfterValidator(not_empty), Field(max_length=200)]
Text = Annotated[str, Field(max_length=MOST_CHARACTERS), AfterValidator(_readable)]


class NewReport(RequestBody):
    title: Title
    text: Annotated[Text, Field(description="Markdown; blocks named chart and runs are drawn.")] = ""


class ReportPatch(RequestBody):
    """`version` is that of the report which was edited, so that nobody overwrites what another person has written."""

    title: Title | None = None
    text: Text | None = None
    version: int


class Report(BaseModel):
    """`created` and `updated` in seconds since the epoch. `version` rises with each change, from 1."""

    model_config = ConfigDict(frozen=True)

    id: str
    title: str
    text: str
    version: int = 1
    created: float
    updated: float


class Reports:
    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def all(self) -> list[Report]:
        """Return the reports, the one that was changed last first."""
        paths = self._folder.glob("*.json") if self._folder.is_dir() else ()
        found = [self._read(path) for path in paths if _ID.fullmatch(path.stem)]
        return sorted((report for report in found if report is not None), key=lambda report: -report.updated)

    def get(self, report_id: str) -> Report:
        """Raises ApiError 404."""
        report = self._read(self._path(report_id)) if _ID.fullmatch(report_id) else None
        if report is None:
            raise not_found("report", report_id)
        return report

    def add(self, asked: NewReport) -> Report:
        """Raises ApiError 409: there are MOST of them."""
        with self._locked():
            if len(self.all()) >= MOST:
                raise ApiError(409, "too_many_reports", f"There are {MOST} reports: delete one first.")
            when = time.time()
            report = Report(id=secrets.token_hex(5), title=asked.title, text=asked.text, created=when, updated=when)
            self._write(report)
        return report

    def change(self, report_id: str, asked: ReportPatch) -> Report:
        """Raises ApiError 404, and 409: it was changed since `asked.version`."""
        with self._locked():
            report = self.get(report_id)
            if asked.version != report.version:
                raise ApiError(409, "report_changed", "Somebody else has changed this report: reload it first.")
            given = asked.model_dump(include={"title", "text"}, exclude_none=True)
            report = report.model_copy(update={**given, "version": report.version + 1, "updated": time.time()})
            self._write(report)
        return report

    def delete(self, report_id: str) -> None:
        """Raises ApiError 404."""
        with self._locked():
            self._path(self.get(report_id).id).unlink()

    def _locked(self) -> FileLock:
        self._folder.mkdir(parents=True, exist_ok=True)
        return FileLock(self._folder / ".lock")

    def _path(self, report_id: str) -> Path:
        return self._folder / f"{report_id}.json"

    def _read(self, path: Path) -> Report | None:
        """Return a report; None if there is none, or its file is damaged."""
        try:
            return Report.model_validate(orjson.loads(path.read_bytes()))
        except (FileNotFoundError, ValueError):
            return None

    def _write(self, report: Report) -> None:
        write_durably(self._path(report.id), orjson.dumps(report.model_dump()))
