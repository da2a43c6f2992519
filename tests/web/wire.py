"""Raw bytes over a socket, for requests that an HTTP client cannot send."""

from __future__ import annotations

import select
import socket
from collections.abc import Iterable
from contextlib import suppress

import httpx

from tests.conftest import Server


def answer_to(server: Server, parts: Iterable[bytes], pace: float = 0) -> httpx.Response:
    """Send `parts` to the server and return the response, read until the connection is closed.

    Waits up to `pace` seconds for a response before each part; sends no more parts once there is one.
    """
    received = b""
    with socket.create_connection(("127.0.0.1", server.settings.port), timeout=60) as connection:
        with suppress(BrokenPipeError, ConnectionResetError):
            for part in parts:
                if select.select([connection], [], [], pace)[0]:
                    break
                connection.sendall(part)
        with suppress(ConnectionResetError):  # closed while parts were being sent; the response was received anyway
            while block := connection.recv(65_536):
                received += block
    head, _, body = received.partition(b"\r\n\r\n")
    status, *lines = head.decode("latin-1").split("\r\n")
    headers = [(name, value.strip()) for name, _, value in (line.partition(":") for line in lines)]
    return httpx.Response(int(status.split()[1]), headers=headers, content=body)
