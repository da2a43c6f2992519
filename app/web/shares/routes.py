"""The API of share links."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Request
from pydantic import BaseModel, BeforeValidator, Field, model_validator

from app.auth.shared_paths import PREFIX
from app.auth.shares import Kind, Share, Shares
from app.errors import not_found
from app.fields import Line, RequestBody
from app.reports.store import Reports
from app.results.comparison import MOST_RUNS
from app.runs.runs import Runs
from app.settings import Settings
from app.web.errors import described
from app.web.root import root
from app.web.services import ReportsDep, RunsDep, SettingsDep, SharesDep

router = APIRouter(prefix="/api/shares", tags=["shares"])
LONGEST_DAYS = 3650


def _separated(value: Any) -> Any:
    return [name for name in value.split(",") if name] if isinstance(value, str) else value


class NewShare(RequestBody):
    """Exactly one of `run`, `compare` and `report`."""

    run: Line | None = None
    compare: Annotated[
        list[Line] | None,
        BeforeValidator(_separated),
        Field(min_length=1, max_length=MOST_RUNS, description="Ids of runs; also as one text, separated by commas."),
    ] = None
    report: Line | None = None
    days: Annotated[int | None, Field(ge=1, le=LONGEST_DAYS, description="It expires after them; null: never.")] = None

    @model_validator(mode="after")
    def is_of_one_thing(self) -> NewShare:
        if sum(item is not None for item in (self.run, self.compare, self.report)) != 1:
            raise ValueError("needs exactly one of run, compare and report")
        return self


class SharePublic(BaseModel):
    id: str
    kind: Kind
    target: str = Field(description="The id of the run or report, or ids of runs separated by commas.")
    title: str
    created: float
    expires: float | None


class ShareCreated(SharePublic):
    url: str = Field(description="Shows the object to whoever has it. It is not shown again.")


@router.post("", status_code=201, responses=described({404: "No such run or report", 409: "Too many links"}))
def create(
    body: NewShare, request: Request, settings: SettingsDep, shares: SharesDep, runs: RunsDep, reports: ReportsDep
) -> ShareCreated:
    """Create a link that shows a run, a comparison or a report, read-only, until it is revoked."""
    share, secret = add_share(body, shares, runs, reports)
    return ShareCreated(**share.model_dump(), url=address_of(secret, request, settings))


@router.get("")
def list_shares(shares: SharesDep) -> list[SharePublic]:
    return [SharePublic(**share.model_dump()) for share in shares.all()]


@router.delete("/{share_id}", status_code=204, responses=described({404: "No such link"}))
def revoke(share_id: str, shares: SharesDep) -> None:
    """Revoke the link: it shows nothing from now on, and its open pages get no more events."""
    shares.revoke(share_id)


def add_share(asked: NewShare, shares: Shares, runs: Runs, reports: Reports) -> tuple[Share, str]:
    """Return the new link with its secret. Raises ApiError 404, 409."""
    if asked.report is not None:
        return shares.add("report", asked.report, reports.get(asked.report).title, asked.days)
    ids = list(dict.fromkeys(asked.compare or [asked.run or ""]))
    names = runs.names(ids)
    for run_id in ids:
        if run_id not in names:
            raise not_found("run", run_id)
    title = names[ids[0]] if len(ids) == 1 else f"{names[ids[0]]} and {len(ids) - 1} more"
    return shares.add("run" if asked.run is not None else "compare", ",".join(ids), title, asked.days)


def address_of(secret: str, request: Request, settings: Settings) -> str:
    origin = settings.public_url.rstrip("/") or str(request.base_url).rstrip("/") + root()
    return f"{origin}{PREFIX}{secret}"
