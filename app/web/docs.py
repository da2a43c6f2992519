from __future__ import annotations

from fastapi import APIRouter, Request, Response

router = APIRouter(include_in_schema=False)


@router.get("/docs")
def docs(request: Request) -> Response:
    """The API's description to click through; FastAPI's own page has an inline script and another host's assets."""
    page: Response = request.app.state.templates.TemplateResponse(request, "docs.html")
    return page
