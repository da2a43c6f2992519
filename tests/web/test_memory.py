"""The memory of the web process is bounded, whatever is sent to it."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tests.conftest import Server
from tests.web.conftest import web_process

MOST_BYTES = 400 << 20
PART = b'--b\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n'


@pytest.fixture(scope="module")
def large_limits(tmp_path_factory: pytest.TempPathFactory, shapes: Path) -> Iterator[Server]:
    """A server with the default limits."""
    with web_process(tmp_path_factory.mktemp("memory"), shapes) as server:
        yield server


def peak_bytes(server: Server) -> int:
    """The most memory that the web process has used so far."""
    status = Path(f"/proc/{server.processes['web'].pid}/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) << 10


def send_and_hang_up(server: Server, head: str, blocks: Iterator[bytes]) -> None:
    with (
        socket.create_connection(("127.0.0.1", server.settings.port), timeout=30) as connection,
        suppress(ConnectionError),
    ):
        connection.sendall(head.encode())
        for block in blocks:
            connection.sendall(block)


def test_uploads_that_are_cut_off_leave_no_memory_behind(large_limits: Server) -> None:
    head = (
        "POST /api/predict HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: multipart/form-data; boundary=b\r\n"
        f"Content-Length: {160 << 20}\r\n\r\n"
    )
    for _ in range(4):
        images = (PART + bytes(19 << 20) + b"\r\n" for _ in range(6))
        send_and_hang_up(large_limits, head, images)
    assert peak_bytes(large_limits) < MOST_BYTES
