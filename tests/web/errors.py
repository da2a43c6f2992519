"""Assertion of the common shape of error responses."""

from __future__ import annotations

import httpx


def assert_error(answer: httpx.Response, status: int, field: str | None = None) -> None:
    assert answer.status_code == status, answer.text[:500]
    body = answer.json()
    assert set(body) == {"error"}
    assert set(body["error"]) == {"code", "message", "detail"}
    if field is not None:
        assert field in [item["field"] for item in body["error"]["detail"]]
