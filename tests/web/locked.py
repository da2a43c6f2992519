"""A server with a password and a token per scope, and clients for it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import httpx

from tests.conftest import NO_TLS, Server

PASSWORD = "correct horse battery"
CANARY = "never to be seen"
CHEAP = 2**4  # scrypt's cost factor n, low so that hashing is fast
PROXY = "127.0.0.2"


@dataclass
class Locked:
    server: Server
    run: str
    tokens: dict[str, str]

    @property
    def cookie_name(self) -> str:
        return f"trackside-{self.server.settings.port}"

    def client(self, token: str | None = None, address: str = "127.0.0.1") -> httpx.Client:
        headers = {} if token is None else {"authorization": f"Bearer {self.tokens[token]}"}
        transport = httpx.HTTPTransport(local_address=address, verify=NO_TLS)
        return httpx.Client(base_url=self.server.url, transport=transport, headers=headers, timeout=30)

    @contextmanager
    def signed_in(self) -> Iterator[httpx.Client]:
        with self.client() as client:
            assert sign_in(client).status_code == 303
            yield client


def sign_in(client: httpx.Client, password: str = PASSWORD, **fields: str) -> httpx.Response:
    return client.post("/login", data={"password": password, **fields})
