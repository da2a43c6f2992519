"""The one error shape, for every way in which a request can fail."""

from __future__ import annotations

import logging
from typing import Any

import orjson
from fastapi import FastAPI, HTTPException, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from starlette.exceptions import HTTPException as StarletteHTTPException

from trainer.data.errors import DatasetError, DatasetMissing
from trainer.spec import SpecError

log = logging.getLogger(__name__)


class ApiError(Exception):
    """A request that cannot be answered as asked: `status`, a stable `code`, a sentence, and details."""

    def __init__(
        self, status: int, code: str, message: str, detail: Any = None, headers: dict[str, str] | None = None
    ) -> None:
        super().__init__(message)
        self.status, self.code, self.message, self.detail, self.headers = status, code, message, detail, headers


def not_found(what: str, name: str) -> ApiError:
    return ApiError(404, "not_found", f"There is no {what} {name[:80]!r}.")


def install(app: FastAPI) -> None:
    app.add_exception_handler(ApiError, _api_error)
    app.add_exception_handler(SpecError, _spec_error)
    app.add_exception_handler(DatasetError, _dataset_error)
    app.add_exception_handler(RequestValidationError, _validation_error)
    app.add_exception_handler(StarletteHTTPException, _http_error)
    app.add_exception_handler(HTTPException, _http_error)
    app.add_exception_handler(Exception, _unexpected)


def respond(request: Request, error: ApiError) -> Response:
    if wants_html(request):
        context = {"status": error.status, "code": error.code, "message": error.message, "request": request}
        page: Response = request.app.state.templates.TemplateResponse(
            request, "error.html", context, status_code=error.status, headers=error.headers
        )
        return page
    body = {"error": {"code": error.code, "message": error.message, "detail": error.detail}}
    return Response(
        orjson.dumps(body, default=str), status_code=error.status, headers=error.headers, media_type="application/json"
    )


def wants_html(request: Request) -> bool:
    return not request.url.path.startswith("/api/") and "text/html" in request.headers.get("accept", "")


async def _api_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, ApiError)
    return respond(request, error)


async def _spec_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, SpecError)
    detail = [{"field": field, "message": message} for field, message in error.fields.items()]
    return respond(request, ApiError(422, "invalid_spec", str(error)[:1000], detail))


async def _dataset_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, DatasetError)
    status = 404 if isinstance(error, DatasetMissing) else 422
    return respond(request, ApiError(status, error.code, error.message, error.detail))


async def _validation_error(request: Request, error: Exception) -> Response:
    """FastAPI's own handler echoes the input, which a lone surrogate or a NaN turns into a 500."""
    assert isinstance(error, RequestValidationError)
    problems = error.errors()
    if any(problem["type"] == "json_invalid" for problem in problems):
        return respond(request, ApiError(400, "malformed_json", "The body is not valid JSON."))
    detail = [
        {
            "field": ".".join(str(part) for part in problem["loc"][1:]) or str(problem["loc"][0]),
            "message": problem["msg"],
        }
        for problem in problems
    ]
    message = "; ".join(f"{item['field']}: {item['message']}" for item in detail)
    return respond(request, ApiError(422, "invalid_request", message[:1000], detail))


async def _http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, StarletteHTTPException)
    codes = {404: "not_found", 405: "method_not_allowed", 400: "bad_request", 413: "too_large"}
    headers = dict(error.headers) if error.headers else None
    code = codes.get(error.status_code, "http_error")
    return respond(request, ApiError(error.status_code, code, str(error.detail), headers=headers))


async def _unexpected(request: Request, error: Exception) -> Response:
    log.error("%s %s failed", request.method, request.url.path, exc_info=error)
    return respond(request, ApiError(500, "internal_error", "Something went wrong; the server's log has the details."))
