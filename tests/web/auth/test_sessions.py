"""Sessions: whose cookie is believed, and what ends one."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
from typer.testing import CliRunner

from app import cli
from app.auth.scopes import Scope
from app.auth.sessions import Sessions
from app.auth.tokens import Tokens
from app.storage.db import Database
from app.supervisor import free_port
from tests.conftest import Server, wait_for
from tests.databases import home_environment, settings_of
from tests.web.errors import assert_error
from tests.web.locked import PASSWORD, Locked, sign_in


def test_tampered_and_expired_cookies(locked: Locked) -> None:
    with locked.signed_in() as client:
        cookie = client.cookies[locked.cookie_name]
    name, until, signature = cookie.split(".")
    with locked.client() as client:
        for value in ("", "x", "..", f"{name}.{int(until) + 1}.{signature}", f"x{name}.{until}.{signature}",
                      f"{name}.{until}.{signature[:-1]}", f"{name}.{until}.", f"{name}.{until}"):  # fmt: skip
            answer = client.get("/api/runs", headers={"cookie": f"{locked.cookie_name}={value}"})
            assert_error(answer, 401)
        assert client.get("/api/runs", headers={"cookie": f"a=b; {locked.cookie_name}={cookie}"}).status_code == 200


def test_a_cookie_that_was_signed_out_is_no_good_to_a_thief(locked: Locked) -> None:
    with locked.signed_in() as client, locked.signed_in() as other:
        stolen = client.cookies[locked.cookie_name]
        client.post("/logout")
        answer = client.get("/api/runs", headers={"cookie": f"{locked.cookie_name}={stolen}"})
        assert_error(answer, 401)
        assert other.get("/api/runs").status_code == 200
        other.post("/logout", data={"everywhere": "1"})
        assert_error(other.get("/api/runs"), 401)


SECRET = bytes(range(32))


@pytest.mark.parametrize("part", [0, 1, 2], ids=["name", "end", "signature"])
def test_a_tampered_cookie_is_not_valid(tmp_path: Path, part: int) -> None:
    sessions = Sessions(tmp_path, 60)
    parts = sessions.begin(SECRET).split(".")
    assert sessions.holds(SECRET, ".".join(parts))
    digit = "2" if parts[part][0] == "1" else "1"
    parts[part] = digit + parts[part][1:]
    assert not sessions.holds(SECRET, ".".join(parts))


@pytest.mark.parametrize(
    "cookie", ["", ".", "..", "name", "name.4102444800", "name.4102444800.", "é.1.ü", "\udcff.1.x"]
)
def test_what_was_never_signed_is_not_valid(tmp_path: Path, cookie: str) -> None:
    assert not Sessions(tmp_path, 60).holds(SECRET, cookie)


def test_an_expired_cookie_is_not_valid(tmp_path: Path) -> None:
    expired = Sessions(tmp_path, 0).begin(SECRET)
    assert not Sessions(tmp_path, 0).holds(SECRET, expired)
    assert not Sessions(tmp_path, 60).holds(SECRET, expired), "its end was signed: a longer lifetime comes too late"


def test_a_cookie_signed_by_another_key_is_not_valid(tmp_path: Path) -> None:
    sessions = Sessions(tmp_path, 60)
    assert not sessions.holds(SECRET, sessions.begin(SECRET[::-1]))


def test_an_ended_session_alone_is_not_valid(tmp_path: Path) -> None:
    sessions = Sessions(tmp_path, 60)
    ended, other = sessions.begin(SECRET), sessions.begin(SECRET)
    sessions.end(ended)
    for reader in (sessions, Sessions(tmp_path, 60)):
        assert not reader.holds(SECRET, ended)
        assert reader.holds(SECRET, other)


def test_a_cookie_of_an_earlier_version_is_still_valid(tmp_path: Path) -> None:
    """Written by the version that signed with hmac by hand, to be valid until 2100."""
    signed = "c2Vzc2lvbi1uYW1l.4102444800.hUZytZ0879E5IgW7EzptR4QfNyJf3zU54VbyzfU2OTo"
    assert Sessions(tmp_path, 60).holds(SECRET, signed)


@pytest.mark.parametrize("how", ["signed out", "revoked"])
def test_streams_end_with_the_credentials(locked: Locked, how: str) -> None:
    if how == "revoked":
        locked.tokens["short"] = Tokens(locked.server.settings.access).add("short", [Scope.READ])
    visit: AbstractContextManager[httpx.Client] = locked.client("short") if how == "revoked" else locked.signed_in()
    paths = ("/api/events", f"/api/runs/{locked.run}/events")
    with visit as reader, reader.stream("GET", paths[0]) as first, reader.stream("GET", paths[1]) as second:
        assert first.status_code == second.status_code == 200
        if how == "revoked":
            Tokens(locked.server.settings.access).revoke("short")
        else:
            assert reader.post("/logout").headers["location"] == "/login"
        started = time.monotonic()
        for stream in (first, second):
            stream.read()  # until its end: the server's silence would be a time-out
        assert time.monotonic() - started < 10
        assert_error(reader.get("/api/runs"), 401)
    with locked.client("admin") as client:
        wait_for(lambda: "trackside_live_streams 0.0" in client.get("/metrics").text, 10, "the end of the streams")


@dataclass
class Commands:
    home: Path

    def run(self, *arguments: str, typed: str = "") -> tuple[int, str]:
        """In this process, for speed."""
        ended = CliRunner().invoke(cli.main, arguments, input=typed, env=home_environment(self.home))
        return ended.exit_code, ended.output


def test_from_a_refusal_to_a_session_and_back(tmp_path: Path) -> None:
    """Real servers that would listen on every address; and nothing secret in what they print."""
    environment = {**os.environ, **home_environment(tmp_path)}
    command = [sys.executable, "-m", "app.cli", "serve", "--host", "0.0.0.0"]
    refused = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=60)
    assert refused.returncode == 1
    assert "trackside password" in refused.stderr
    assert "--insecure" in refused.stderr
    assert not (tmp_path / "trackside.db").exists()
    trackside = Commands(tmp_path)
    assert trackside.run("password", typed="short\n")[0] == 1
    assert trackside.run("password", typed=f"{PASSWORD}\n")[0] == 0
    status, token = trackside.run("tokens", "add", "reader", "--scope", "read", "--scope", "predict")
    assert status == 0
    token = token.strip()

    port = free_port("127.0.0.1")
    database = Database(settings_of(tmp_path).url)
    database.migrate()
    database.close()
    log = tmp_path / "web.log"
    with log.open("wb") as written:
        process = subprocess.Popen(
            [sys.executable, "-m", "app.cli", "web", "--host", "0.0.0.0", "--port", str(port)],
            env=environment,
            stdout=written,
            stderr=written,
        )
    server = Server(tmp_path, settings_of(tmp_path, port=port), {"web": process})
    try:
        server.wait_web()
        with server.client() as client, server.client() as program:
            assert_error(client.get(f"/api/runs?token={token}"), 401)
            program.headers["authorization"] = f"Bearer {token}"
            assert program.get("/api/runs").status_code == 200
            assert_error(program.post("/api/runs", json={}), 403)
            assert sign_in(client).status_code == 303
            assert client.get("/api/runs").status_code == 200
            assert trackside.run("password", "--sign-out")[0] == 0
            assert_error(client.get("/api/runs"), 401)
            assert sign_in(client).status_code == 303
            assert trackside.run("password", typed="another password\n")[0] == 0
            assert_error(client.get("/api/runs"), 401)
            assert sign_in(client).status_code == 401
            server.stop("web")
        listed = trackside.run("tokens", "list")[1]
        assert re.search(r"^reader: predict, read, made .*, last used \d{4}-", listed)
        assert trackside.run("tokens", "revoke", "reader")[0] == 0
        assert trackside.run("tokens", "revoke", "reader")[0] == 1
        assert trackside.run("password", "--remove")[0] == 0
        said = log.read_text()
        for secret in (token, PASSWORD, "another password"):
            assert secret not in said
    finally:
        server.close()
