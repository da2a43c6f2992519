"""The memory of the web process is bounded, whatever is sent to it."""

from __future__ import annotations

import itertools
import socket
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
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
        suppress(ConnectionError, TimeoutError),
    ):
        connection.sendall(head.encode())
        for block in blocks:
            connection.sendall(block)
        connection.settimeout(1)
        connection.recv(1000)  # an answer, if there is one, before the connection is closed


UPLOAD = "POST /api/predict HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: multipart/form-data; boundary=b\r\n"
CHUNKED = "Transfer-Encoding: chunked\r\n\r\n"
MIB = bytes(1 << 20)


def cut_off_images() -> tuple[str, Iterator[bytes]]:
    images = (PART + bytes(19 << 20) + b"\r\n" for _ in range(6))
    return f"{UPLOAD}Content-Length: {160 << 20}\r\n\r\n", images


def more_images_than_fit() -> tuple[str, Iterator[bytes]]:
    image = PART + bytes(19 << 20) + b"\r\n"
    return UPLOAD + CHUNKED, (b"%x\r\n%b\r\n" % (len(image), image) for _ in range(12))


def parts_without_end() -> tuple[str, Iterator[bytes]]:
    part = b"--b\r\nContent-Disposition: form-data\r\n\r\n\r\n" * 2000
    return UPLOAD + CHUNKED, (b"%x\r\n%b\r\n" % (len(part), part) for _ in range(200))


def trailers() -> tuple[str, Iterator[bytes]]:
    return f"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n{CHUNKED}0\r\n", (b"a:\r\n" * 65_536 for _ in range(160))


def headers_without_end() -> tuple[str, Iterator[bytes]]:
    return "GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n", (b"a: b\r\n" * 65_536 for _ in range(160))


def a_body_that_nobody_reads() -> tuple[str, Iterator[bytes]]:
    head = f"GET /api/events HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: {1 << 40}\r\n\r\n"
    return head, (MIB for _ in range(20))


def a_long_json() -> tuple[str, Iterator[bytes]]:
    head = f"POST /api/runs HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n{CHUNKED}"
    return head, (b"%x\r\n%b\r\n" % (len(MIB), MIB) for _ in range(160))


def a_field_of_a_zip() -> tuple[str, Iterator[bytes]]:
    head = "POST /api/datasets HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: multipart/form-data; boundary=b\r\n"
    field = b'--b\r\nContent-Disposition: form-data; name="name"\r\n\r\n'
    blocks = itertools.chain([field], itertools.repeat(MIB, 160))
    return head + CHUNKED, (b"%x\r\n%b\r\n" % (len(block), block) for block in blocks)


SENT = (
    cut_off_images, more_images_than_fit, parts_without_end, trailers, headers_without_end, a_body_that_nobody_reads,
    a_long_json, a_field_of_a_zip,
)  # fmt: skip


@pytest.mark.parametrize("kind", SENT, ids=lambda kind: kind.__name__)
def test_the_web_process_stays_below_400_mb_whatever_is_sent(
    large_limits: Server, kind: Callable[[], tuple[str, Iterator[bytes]]]
) -> None:
    for _ in range(3):
        send_and_hang_up(large_limits, *kind())
        assert peak_bytes(large_limits) < MOST_BYTES


def test_many_images_at_once_and_idle_connections_stay_below_it_too(large_limits: Server) -> None:
    with ExitStack() as stack, ThreadPoolExecutor(4) as pool:
        for _ in range(500):
            stack.enter_context(socket.create_connection(("127.0.0.1", large_limits.settings.port), timeout=30))
        for sent in [pool.submit(send_and_hang_up, large_limits, *cut_off_images()) for _ in range(4)]:
            sent.result()
        with large_limits.client() as client:
            assert client.get("/healthz").status_code == 200
    assert peak_bytes(large_limits) < MOST_BYTES
