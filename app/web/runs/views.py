"""Saved views of the runs page, over the API and from the page's forms."""

from __future__ import annotations

from typing import Annotated
from urllib.parse import parse_qsl, urlencode

from fastapi import APIRouter, Request
from fastapi.concurrency import run_in_threadpool
from pydantic import AfterValidator, BaseModel, Field
from starlette.datastructures import QueryParams
from starlette.responses import RedirectResponse, Response

from app.fields import Line, LongLine, RequestBody, not_empty
from app.runs.query import RunQuery
from app.runs.views import View
from app.web.errors import described
from app.web.forms import checked, texts
from app.web.runs.index_view import PARAMETERS, Asked
from app.web.services import ViewsDep

router = APIRouter()
NOT_KEPT = ("cursor", "page")


def _without_slash(name: str) -> str:
    if "/" in name:
        raise ValueError("must not contain a slash")
    return name


def _of_the_list(query: str) -> str:
    """Return the parameters of the runs page alone, without the place in the list. Raises ApiError 422."""
    known = {*PARAMETERS, "open"} - {*NOT_KEPT}
    kept = urlencode([(name, value) for name, value in parse_qsl(query.removeprefix("?")) if name in known])
    checked(RunQuery, Asked.of(QueryParams(kept)).query)
    return kept


ViewName = Annotated[Line, Field(max_length=60), AfterValidator(not_empty), AfterValidator(_without_slash)]
ViewQuery = Annotated[LongLine, Field(description="A query string of the runs page")]


class NewView(RequestBody):
    query: ViewQuery


class NamedView(NewView):
    name: ViewName


class ViewPublic(BaseModel):
    name: str
    query: str


def _public(view: View) -> ViewPublic:
    return ViewPublic(name=view.name, query=view.query)


@router.get("/api/views", tags=["views"])
def list_views(views: ViewsDep) -> list[ViewPublic]:
    """List the saved views of the runs page, which all users of the server share."""
    return [_public(view) for view in views.all()]


@router.put("/api/views/{name}", tags=["views"], responses=described({409: "There are too many views"}))
def put_view(name: ViewName, body: NewView, views: ViewsDep) -> ViewPublic:
    """Save a view, in place of one of the same name."""
    return _public(views.put(name, _of_the_list(body.query)))


@router.delete("/api/views/{name}", tags=["views"], status_code=204, responses=described({404: "No such view"}))
def delete_view(name: str, views: ViewsDep) -> None:
    views.remove(name)


@router.post("/views", include_in_schema=False)
async def save_from_page(request: Request, views: ViewsDep) -> Response:
    body = checked(NamedView, texts(await request.form()))
    view = await run_in_threadpool(views.put, body.name, _of_the_list(body.query))
    return RedirectResponse(f"/?{view.query}", 303)


@router.post("/views/{name}/delete", include_in_schema=False)
def delete_from_page(name: str, views: ViewsDep) -> Response:
    views.remove(name)
    return RedirectResponse("/", 303)
