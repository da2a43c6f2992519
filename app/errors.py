"""Errors of the domain that people are told of. No HTTP here: app.web.errors makes responses of them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any


class ApiError(Exception):
    """A request that cannot be answered as asked: `status`, a stable `code`, a sentence, and details."""

    def __init__(
        self, status: int, code: str, message: str, detail: Any = None, headers: dict[str, str] | None = None
    ) -> None:
        super().__init__(message)
        self.status, self.code, self.message, self.detail, self.headers = status, code, message, detail, headers


def not_found(what: str, name: str) -> ApiError:
    return ApiError(404, "not_found", f"There is no {what} {name[:80]!r}.")


def invalid(problems: Iterable[tuple[Sequence[int | str], str]]) -> ApiError:
    """From the place and the message of each problem that pydantic found."""
    detail = [
        {"field": ".".join(map(str, loc))[:200] or "body", "message": message.removeprefix("Value error, ")}
        for loc, message in problems
    ]
    message = "; ".join(f"{item['field']}: {item['message']}" for item in detail)
    return ApiError(422, "invalid_request", message[:1000], detail)


def unavailable(code: str, message: str) -> ApiError:
    """A request that may succeed in two seconds."""
    return ApiError(503, code, message, headers={"Retry-After": "2"})
