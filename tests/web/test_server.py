"""The web process as a process: how it ends, and the files that it may open."""

from __future__ import annotations

import os
import resource
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from contextlib import ExitStack

import pytest

from tests.conftest import Server, wait_for

STREAM = b"GET /api/events HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
UPLOAD = b"POST /api/runs HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 10\r\n\r\n{"


def start(server: Server, script: str = "") -> subprocess.Popen[bytes]:
    """Start the web process from a shell, after `script`."""
    command = f'{script} exec "$0" -m app.cli web --port {server.settings.port}'
    process = subprocess.Popen(
        ["bash", "-c", command, sys.executable], env={**os.environ, **server.environment()}, stderr=subprocess.PIPE
    )
    server.processes["web"] = process

    def listens() -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", server.settings.port)) == 0

    wait_for(listens, 120, "the web process")
    return process


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_ends_without_an_error_while_pages_are_open_and_uploads_arrive(
    make_server: Callable[..., Server], number: signal.Signals
) -> None:
    server = make_server()
    process = start(server)
    address = ("127.0.0.1", server.settings.port)
    with socket.create_connection(address) as page, socket.create_connection(address) as upload:
        page.sendall(STREAM)
        assert page.recv(1000).startswith(b"HTTP/1.1 200")
        upload.sendall(UPLOAD)
        process.send_signal(number)
        page.settimeout(30)
        while page.recv(65_536):
            pass
        _, printed = process.communicate(timeout=30)
    assert printed == b""


def test_it_may_open_as_many_files_as_the_system_allows_and_keeps_some_for_requests(
    make_server: Callable[..., Server],
) -> None:
    server = make_server()
    process = start(server, "ulimit -Sn 100; ulimit -Hn 200;")
    assert resource.prlimit(process.pid, resource.RLIMIT_NOFILE) == (200, 200)
    with ExitStack() as stack:
        answers = []
        for _ in range(120):
            connection = stack.enter_context(socket.create_connection(("127.0.0.1", server.settings.port), timeout=30))
            connection.sendall(STREAM)
            answers.append(connection.recv(1000)[9:12])
        assert answers == [b"200"] * 100 + [b"503"] * 20
        with server.client() as client:
            assert client.get("/healthz").status_code == 200
    process.terminate()
    process.communicate(timeout=30)


def test_silent_connections_make_room_for_others(make_server: Callable[..., Server]) -> None:
    server = make_server()
    process = start(server, "ulimit -n 200;")
    with ExitStack() as stack:
        silent = [
            stack.enter_context(socket.create_connection(("127.0.0.1", server.settings.port), timeout=30))
            for _ in range(400)
        ]
        with server.client() as client:
            assert client.get("/healthz").status_code == 200
        assert silent[0].recv(1) == b""  # the oldest was closed
        silent[-1].sendall(b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
        assert silent[-1].recv(100).startswith(b"HTTP/1.1 200")
    process.terminate()
    process.communicate(timeout=30)
