"""Clients that send too slowly or endlessly are disconnected; other clients are served meanwhile."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from app.web.slow_clients import MAX_HEADER_BYTES
from tests.conftest import Server
from tests.web.conftest import web_process
from tests.web.errors import assert_error
from tests.web.wire import answer_to

HEAD = b"POST /api/runs HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"


@pytest.fixture(scope="module")
def short_timeouts(tmp_path_factory: pytest.TempPathFactory, shapes: Path) -> Iterator[Server]:
    home = tmp_path_factory.mktemp("short_timeouts")
    with web_process(home, shapes, TRACKSIDE_HEADER_SECONDS="1", TRACKSIDE_BODY_SECONDS="1") as server:
        yield server


@pytest.mark.parametrize(
    ("parts", "status"),
    [
        ([], 408),
        ([b"GET / HT"], 408),
        ([b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\nGET "], 200),
        ([(HEAD + b"X: ").ljust(MAX_HEADER_BYTES + 1, b"x")], 431),
        ([b"no request at all\r\n\r\n"], 400),
        ([HEAD + b"Content-Length: x\r\n\r\n"], 400),
    ],
    ids=["nothing", "half a line", "half a second request", "headers without end", "no HTTP", "no length"],
)
def test_what_stops_halfway_is_let_go(short_timeouts: Server, parts: list[bytes], status: int) -> None:
    answer = answer_to(short_timeouts, parts)
    assert answer.status_code == status
    if status != 200:
        assert_error(answer, status)


def test_others_are_served_and_streams_are_not_slow(short_timeouts: Server) -> None:
    address = ("127.0.0.1", short_timeouts.settings.port)
    with (
        socket.create_connection(address) as silent,
        short_timeouts.client() as client,
        client.stream("GET", "/api/events") as stream,
    ):
        assert silent.recv(1000).startswith(b"HTTP/1.1 408")  # both timeouts have passed
        run = short_timeouts.launch()
        for line in stream.iter_lines():
            if line.startswith("data: ") and run in line:
                break
        assert client.get("/healthz").status_code == 200
