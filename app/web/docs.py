from __future__ import annotations

from fastapi import APIRouter, Request, Response

router = APIRouter(include_in_schema=False)


@router.get("/docs")
def docs(request: Request) -> Response:
    """Swagger UI. Replaces FastAPI's own page, whose inline script and external assets the CSP forbids."""
    page: Response = request.app.state.templates.TemplateResponse(request, "docs.html")
    return page
