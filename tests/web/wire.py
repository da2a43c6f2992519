"""Bytes as they are, for what no HTTP client sends."""

from __future__ import annotations

import select
import socket
from collections.abc import Iterable
from contextlib import suppress

import httpx

from tests.conftest import Server


def answer_to(server: Server, parts: Iterable[bytes], pace: float = 0) -> httpx.Response:
    """What comes back before the connection is closed; once anything does, no more is sent.

    An answer is waited for before each part for `pace` seconds.
    """
    received = b""
    with socket.create_connection(("127.0.0.1", server.settings.port), timeout=60) as connection:
        with suppress(BrokenPipeError, ConnectionResetError):
            for part in parts:
                if select.select([connection], [], [], pace)[0]:
                    break
                connection.sendall(part)
        with suppress(ConnectionResetError):  # it was closed while we were sending: the answer is there all the same
            while block := connection.recv(65_536):
                received += block
    head, _, body = received.partition(b"\r\n\r\n")
    status, *lines = head.decode("latin-1").split("\r\n")
    headers = [(name, value.strip()) for name, _, value in (line.partition(":") for line in lines)]
    return httpx.Response(int(status.split()[1]), headers=headers, content=body)
