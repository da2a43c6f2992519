"""What every answer carries, and which paths may take large bodies."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import anyio
import httpx
import pytest
from fastapi import FastAPI
from starlette.exceptions import HTTPException
from starlette.types import Message

from app.main import create_app
from app.storage.db import Database
from app.web.guard import HEADERS, MIN_BYTES_PER_SECOND, LimitedBody
from tests.databases import settings_of


async def broken() -> None:
    raise RuntimeError("as a fault in a handler would")


async def answers(home: Path, paths: list[str]) -> AsyncIterator[httpx.Response]:
    settings = settings_of(home)
    database = Database(settings.url)
    database.migrate()
    database.close()
    app: FastAPI = create_app(settings)
    app.add_api_route("/api/broken", broken)
    transport = httpx.ASGITransport(app=app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:8000") as client:
        for path in paths:
            yield await client.get(path)
    app.state.services.database.close()


@pytest.mark.parametrize(
    ("path", "status"), [("/api/broken", 500), ("/api/nothing", 404), ("/static/favicon.svg", 200)]
)
def test_every_answer_carries_the_security_headers(tmp_path: Path, path: str, status: int) -> None:
    async def ask() -> httpx.Response:
        return await anext(answers(tmp_path, [path]))

    answer = anyio.run(ask)
    assert answer.status_code == status
    assert {name: answer.headers.get(name) for name in HEADERS} == HEADERS
    if status == 500:
        assert answer.json()["error"]["code"] == "internal_error"
    if status == 200:
        assert answer.headers["cache-control"] == "no-cache"


PIECES = 25
PACE = 0.05
LONGEST_SILENCE = 1.0  # less than the body takes as a whole


def test_a_body_may_take_long_if_it_keeps_coming() -> None:
    sent = 0

    async def receive() -> Message:
        nonlocal sent
        await anyio.sleep(PACE if sent < PIECES else 60)
        sent += 1
        return {"type": "http.request", "body": bytes(MIN_BYTES_PER_SECOND), "more_body": True}

    async def read() -> None:
        body = LimitedBody(receive, None, LONGEST_SILENCE)
        for _ in range(PIECES):
            await body()
        with pytest.raises(HTTPException) as caught:
            await body()
        assert caught.value.status_code == 408

    anyio.run(read)
    assert sent == PIECES
