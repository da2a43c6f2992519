from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Response

from app.search.public import SearchPublic, SearchSummary, public_of, summary_of
from app.search.requests import MoreTrials, NewSearch
from app.web.errors import described
from app.web.services import SearchesDep

router = APIRouter(prefix="/api/searches", tags=["searches"])
CREATED: dict[int | str, dict[str, Any]] = {
    201: {"headers": {"Location": {"description": "The new search", "schema": {"type": "string"}}}}
}
NO_SEARCH = described({404: "No such search"})
WRONG_STATE = NO_SEARCH | described({409: "The search's status does not allow it"})


@router.post("", status_code=201, responses=CREATED)
def create(body: NewSearch, searches: SearchesDep, response: Response) -> SearchPublic:
    """Begin a search. Its trials are ordinary runs: they wait in the queue, and can be opened, compared and stopped."""
    search = searches.create(body)
    response.headers["Location"] = f"/api/searches/{search.id}"
    return public_of(search, [])


@router.get("")
def list_searches(searches: SearchesDep) -> list[SearchSummary]:
    return [summary_of(search) for search in searches.all()]


@router.get("/{search_id}", responses=NO_SEARCH)
def get(search_id: str, searches: SearchesDep) -> SearchPublic:
    search = searches.get(search_id)
    return public_of(search, searches.trials(search))


@router.post("/{search_id}/stop", status_code=202, responses=WRONG_STATE)
def stop(search_id: str, searches: SearchesDep) -> SearchPublic:
    search = searches.stop(search_id)
    return public_of(search, searches.trials(search))


@router.post("/{search_id}/resume", status_code=202, responses=WRONG_STATE)
def resume(search_id: str, searches: SearchesDep, body: MoreTrials | None = None) -> SearchPublic:
    search = searches.resume(search_id, body or MoreTrials(trials=0, device_minutes=0))
    return public_of(search, searches.trials(search))
