"""Clients that send too slowly or endlessly are disconnected; other clients are served meanwhile."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from app.web.slow_clients import DRAIN_BYTES, MAX_HEADER_BYTES
from tests.conftest import Server
from tests.web.conftest import web_process
from tests.web.errors import assert_error
from tests.web.test_memory import peak_bytes
from tests.web.wire import answer_to

HEAD = b"POST /api/runs HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"


@pytest.fixture(scope="module")
def short_timeouts(tmp_path_factory: pytest.TempPathFactory, shapes: Path) -> Iterator[Server]:
    home = tmp_path_factory.mktemp("short_timeouts")
    names = ("TRACKSIDE_HEADER_SECONDS", "TRACKSIDE_BODY_SECONDS", "TRACKSIDE_KEEP_ALIVE_SECONDS")
    with web_process(home, shapes, **dict.fromkeys(names, "1")) as server:
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


CHUNKED = b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\nTransfer-Encoding: chunked\r\n\r\n"


@pytest.mark.parametrize(
    ("request_bytes", "then"),
    [
        (b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n", b""),
        (b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n", b"\r\n"),
        (b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 1000\r\n\r\n", b"a"),
        (CHUNKED, b"5\r\nab"),
        (CHUNKED, b"0\r\na: b\r\n"),
    ],
    ids=["nothing", "an empty line", "a byte of the body", "a part of a chunk", "a trailer"],
)
def test_an_answered_connection_is_closed_unless_another_request_begins(
    short_timeouts: Server, request_bytes: bytes, then: bytes
) -> None:
    with socket.create_connection(("127.0.0.1", short_timeouts.settings.port), timeout=20) as connection:
        connection.sendall(request_bytes)
        assert connection.recv(1000).startswith(b"HTTP/1.1 200")
        deadline = time.monotonic() + 15
        while not ended(connection):
            assert time.monotonic() < deadline, "the connection was kept open"
            with suppress(ConnectionError):
                connection.sendall(then)
                then = then[:2] if then == b"\r\n" else b""


def ended(connection: socket.socket) -> bool:
    """Whether the server closes the connection within a tenth of a second."""
    connection.settimeout(0.1)
    try:
        return connection.recv(65_536) == b""
    except TimeoutError:
        return False
    except ConnectionError:
        return True


@pytest.mark.parametrize("block", [b"a:\r\n" * 4096, b"a" * 16_384], ids=["many lines", "one line"])
@pytest.mark.parametrize("path", [b"/healthz", b"/api/predict"], ids=["answered", "read"])
def test_trailers_are_limited(short_timeouts: Server, block: bytes, path: bytes) -> None:
    method = b"GET" if path == b"/healthz" else b"POST"
    head = b"%b %b HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: image/png\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n"
    sent = 0
    with socket.create_connection(("127.0.0.1", short_timeouts.settings.port), timeout=20) as connection:
        connection.sendall(head % (method, path))
        with suppress(ConnectionError):
            while sent < DRAIN_BYTES + (64 << 20):
                connection.sendall(block)
                sent += len(block)
    assert sent < DRAIN_BYTES + (64 << 20)
    assert peak_bytes(short_timeouts) < 400 << 20


@pytest.mark.parametrize("length", ["Content-Length: 30000000", "Transfer-Encoding: chunked"])
@pytest.mark.parametrize(("path", "kind", "status"), [("predict", "image/png", 413), ("predict", "text/plain", 415)])
def test_a_client_that_sends_all_before_it_reads_is_answered(
    short_timeouts: Server, path: str, kind: str, status: int, length: str
) -> None:
    head = f"POST /api/{path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: {kind}\r\n{length}\r\n\r\n"
    data = bytes(30_000_000)
    with socket.create_connection(("127.0.0.1", short_timeouts.settings.port), timeout=20) as connection:
        connection.sendall(head.encode())
        connection.sendall(b"%x\r\n%b\r\n0\r\n\r\n" % (len(data), data) if "chunked" in length else data)
        assert connection.recv(1000).startswith(f"HTTP/1.1 {status}".encode())


def test_an_unread_body_is_not_read_without_end(short_timeouts: Server) -> None:
    head = b"POST /api/predict HTTP/1.1\r\nHost: 127.0.0.1\r\nTransfer-Encoding: chunked\r\n\r\n"
    block = b"%x\r\n%b\r\n" % (1 << 20, bytes(1 << 20))
    sent = 0
    with socket.create_connection(("127.0.0.1", short_timeouts.settings.port), timeout=20) as connection:
        connection.sendall(head)
        with suppress(ConnectionError):
            while sent < DRAIN_BYTES + (64 << 20):
                connection.sendall(block)
                sent += len(block)
    assert sent < DRAIN_BYTES + (64 << 20)


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
