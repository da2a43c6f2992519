"""The error handlers: every failed request is answered in one format, as JSON or as a page."""

from __future__ import annotations

import errno
import json
import logging
from collections.abc import Mapping
from typing import Any

from fastapi import FastAPI, HTTPException, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from pydantic import BaseModel, Field
from sqlalchemy.exc import OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from starlette.exceptions import HTTPException as StarletteHTTPException
from starlette.requests import ClientDisconnect

from app.errors import ApiError, invalid
from trainer.data.errors import BadName, DatasetError, DatasetMissing, UnknownSource, UnreadableSource
from trainer.spec.messages import in_words
from trainer.spec.preset import SpecError

log = logging.getLogger(__name__)
REQUEST_FIELDS: dict[type[DatasetError], str] = {BadName: "name", UnknownSource: "source", UnreadableSource: "source"}
SCHEMAS = "#/components/schemas/"
DISK_FULL_ERRNOS = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class ErrorDetail(BaseModel):
    code: str = Field(description="A stable word for programs.")
    message: str = Field(description="A sentence for people.")
    detail: Any = Field(description="Where fields are wrong, a list of {field, message}; else what the code says.")


class ErrorBody(BaseModel):
    """The body of every error response."""

    error: ErrorDetail


def described(answers: Mapping[int | str, str]) -> dict[int | str, dict[str, Any]]:
    """The OpenAPI responses for error statuses and their descriptions.

    They name the schema of ErrorBody, which `error_schemas` returns. With the model itself, FastAPI would build a
    validator for each status of each route: half of the time in which the web process starts.
    """
    content = {"application/json": {"schema": {"$ref": f"{SCHEMAS}{ErrorBody.__name__}"}}}
    return {status: {"description": text, "content": content} for status, text in answers.items()}


def error_schemas() -> dict[str, Any]:
    """The OpenAPI schemas of error responses, by name."""
    schema = ErrorBody.model_json_schema(ref_template=f"{SCHEMAS}{{model}}")
    return {**schema.pop("$defs"), ErrorBody.__name__: schema}


def install_error_handlers(app: FastAPI) -> None:
    app.add_exception_handler(ApiError, _api_error)
    app.add_exception_handler(SpecError, _spec_error)
    app.add_exception_handler(DatasetError, _dataset_error)
    app.add_exception_handler(RequestValidationError, _validation_error)
    app.add_exception_handler(StarletteHTTPException, _http_error)
    app.add_exception_handler(HTTPException, _http_error)
    app.add_exception_handler(ClientDisconnect, _disconnected)
    app.add_exception_handler(OSError, _system_error)
    app.add_exception_handler(OperationalError, _database_error)
    app.add_exception_handler(PoolTimeout, _database_error)
    app.add_exception_handler(Exception, _unexpected)


def respond(request: Request, error: ApiError) -> Response:
    message = error.message.encode(errors="replace").decode()
    if wants_html(request):
        context = {"status": error.status, "code": error.code, "message": message, "section": ""}
        page: Response = request.app.state.templates.TemplateResponse(
            request, "error.html", context, status_code=error.status, headers=error.headers
        )
        return page
    body = {"error": {"code": error.code, "message": message, "detail": error.detail}}
    # A field's name comes from the client and may contain a lone surrogate, which UTF-8 cannot encode.
    text = json.dumps(body, default=str, ensure_ascii=False).encode(errors="replace")
    return Response(text, status_code=error.status, headers=error.headers, media_type="application/json")


def closing(error: ApiError) -> ApiError:
    """The error, after which the connection is closed: the rest of the body is of no use."""
    error.headers = {**(error.headers or {}), "Connection": "close"}
    return error


def wants_html(request: Request) -> bool:
    return not request.url.path.startswith("/api/") and "text/html" in request.headers.get("accept", "")


async def _api_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, ApiError)
    return respond(request, error)


async def _spec_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, SpecError)
    detail = [{"field": field[:200], "message": message} for field, message in error.fields.items()]
    return respond(request, ApiError(422, "invalid_spec", str(error)[:1000], detail))


async def _dataset_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, DatasetError)
    status = 404 if isinstance(error, DatasetMissing) else 422
    detail = error.detail
    if (field := REQUEST_FIELDS.get(type(error))) is not None:
        detail = [{"field": field, "message": error.message}]
    return respond(request, ApiError(status, error.code, error.message, detail))


async def _validation_error(request: Request, error: Exception) -> Response:
    """Replaces FastAPI's handler, which echoes the input and so fails with status 500 on a lone surrogate or NaN."""
    assert isinstance(error, RequestValidationError)
    problems = error.errors()
    if any(problem["type"] == "json_invalid" for problem in problems):
        return respond(request, ApiError(400, "malformed_json", "The body is not valid JSON."))
    return respond(
        request, invalid([(problem["loc"][1:] or problem["loc"], in_words(problem)) for problem in problems])
    )


async def _http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, StarletteHTTPException)
    codes = {404: "not_found", 405: "method_not_allowed", 400: "bad_request", 408: "too_slow", 413: "too_large"}
    headers = dict(error.headers) if error.headers else None
    code = codes.get(error.status_code, "http_error")
    return respond(request, ApiError(error.status_code, code, str(error.detail), headers=headers))


async def _disconnected(request: Request, error: Exception) -> Response:
    return respond(request, ApiError(400, "incomplete_body", "The connection ended within the body."))


async def _system_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, OSError)
    if error.errno not in DISK_FULL_ERRNOS:
        raise error
    message = "No space left on device: the disk of the server's home folder is full."
    return respond(request, closing(ApiError(507, "disk_full", message)))


async def _database_error(request: Request, error: Exception) -> Response:
    log.error("%s %s: the database failed", request.method, request.url.path, exc_info=error)
    if "is full" in str(error):
        return respond(
            request, ApiError(507, "disk_full", "No space left on device: the database could not be written.")
        )
    message = "The database cannot be reached."
    return respond(request, ApiError(503, "database_unavailable", message, headers={"Retry-After": "2"}))


async def _unexpected(request: Request, error: Exception) -> Response:
    log.error("%s %s failed", request.method, request.url.path, exc_info=error)
    return respond(request, ApiError(500, "internal_error", "Something went wrong; the server's log has the details."))
