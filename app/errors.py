"""Domain errors that are reported to users. No HTTP here: app.web.errors converts them to responses."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any


class CommandError(RuntimeError):
    """Ends a command with its message, for the person who started it, and exit status 1."""


class ApiError(Exception):
    """A request that failed: HTTP `status`, stable `code`, `message`, and optional `detail` and response `headers`."""

    def __init__(
        self, status: int, code: str, message: str, detail: Any = None, headers: dict[str, str] | None = None
    ) -> None:
        super().__init__(message)
        self.status, self.code, self.message, self.detail, self.headers = status, code, message, detail, headers


def not_found(what: str, name: str) -> ApiError:
    """Return a 404 error."""
    return ApiError(404, "not_found", f"There is no {what} {name[:80]!r}.")


def _names(loc: Sequence[int | str]) -> list[str]:
    """The parts of a location, without pydantic's own, such as "function-after[grows(), Between]"."""
    return [str(part) for part in loc if not re.fullmatch(r"[\w-]+\[.*\]", str(part))]


def invalid(problems: Iterable[tuple[Sequence[int | str], str]]) -> ApiError:
    """Return a 422 error from the location and message of each problem, as pydantic reports them."""
    detail = [
        {"field": ".".join(_names(loc))[:200] or "body", "message": message.removeprefix("Value error, ")}
        for loc, message in problems
    ]
    message = "; ".join(f"{item['field']}: {item['message']}" for item in detail)
    return ApiError(422, "invalid_request", message[:1000], detail)


def unavailable(code: str, message: str) -> ApiError:
    """Return a 503 error for a request that may succeed in two seconds."""
    return ApiError(503, code, message, headers={"Retry-After": "2"})
