"""The API of share links."""

from __future__ import annotations

from fastapi import APIRouter, Request
from pydantic import BaseModel, Field

from app.auth.shared_paths import PREFIX
from app.auth.shares import Kind
from app.reports.shared import NewShare, target_of
from app.settings import Settings
from app.web.errors import described
from app.web.root import root
from app.web.services import ReportsDep, RunsDep, SettingsDep, SharesDep

router = APIRouter(prefix="/api/shares", tags=["shares"])


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
    target = target_of(body, runs, reports)
    share, secret = shares.add(target.kind, target.target, target.title, body.days)
    return ShareCreated(**share.model_dump(), url=address_of(secret, request, settings))


@router.get("")
def list_shares(shares: SharesDep) -> list[SharePublic]:
    return [SharePublic(**share.model_dump()) for share in shares.all()]


@router.delete("/{share_id}", status_code=204, responses=described({404: "No such link"}))
def revoke(share_id: str, shares: SharesDep) -> None:
    """Revoke the link: it shows nothing from now on, and its open pages get no more events."""
    shares.revoke(share_id)


def address_of(secret: str, request: Request, settings: Settings) -> str:
    origin = settings.public_url.rstrip("/") or str(request.base_url).rstrip("/") + root()
    return f"{origin}{PREFIX}{secret}"
