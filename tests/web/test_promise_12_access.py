"""Promise 12: no request without credentials reads or changes anything once a password is set."""

from __future__ import annotations

import asyncio
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from http.cookies import SimpleCookie
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from fastapi.routing import APIRoute
from starlette.routing import BaseRoute, Mount, Route
from typer.testing import CliRunner

from app import cli
from app.access import Exposed, check_exposure
from app.db import Database
from app.login_attempts import BY_PEER, IN_ALL, LoginAttempts, peer_of
from app.main import create_app
from app.password import PasswordFile, PasswordUnfit
from app.routes.access import way_back
from app.scopes import Scope, is_open, suffices
from app.settings import Settings
from app.supervisor import free_port
from app.tokens import Tokens
from tests.conftest import Server, wait_for
from tests.web.conftest import web_process
from tests.web.errors import assert_error
from tests.web.test_pages import Visitor

PASSWORD = "correct horse battery"
CANARY = "never to be seen"
CHEAP = 2**4  # a hash that takes no time
PROXY = "127.0.0.2"
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
ADMIN_ONLY = {"GET /tokens", "POST /tokens", "POST /tokens/{name}/revoke", "POST /logout"}


@dataclass
class Locked:
    server: Server
    run: str
    tokens: dict[str, str]

    def client(self, token: str | None = None, address: str = "127.0.0.1") -> httpx.Client:
        headers = {} if token is None else {"authorization": f"Bearer {self.tokens[token]}"}
        transport = httpx.HTTPTransport(local_address=address)
        return httpx.Client(base_url=self.server.url, transport=transport, headers=headers, timeout=30)

    @contextmanager
    def signed_in(self) -> Iterator[httpx.Client]:
        with self.client() as client:
            assert sign_in(client).status_code == 303
            yield client


@pytest.fixture(scope="module")
def locked(tmp_path_factory: pytest.TempPathFactory, shapes: Path) -> Iterator[Locked]:
    home = tmp_path_factory.mktemp("locked")
    access = Settings(home=home).access
    PasswordFile(access).set(PASSWORD, n=CHEAP)
    tokens = Tokens(access)
    made = {scope.value: tokens.add(scope.value, [scope]) for scope in Scope}
    made["both"] = tokens.add("both", [Scope.READ, Scope.PREDICT])
    environment = {"TRACKSIDE_RECHECK_SECONDS": "0.1", "TRACKSIDE_TRUSTED_PROXIES": f'["{PROXY}"]'}
    with web_process(home, shapes, **environment) as server:
        found = Locked(server, "", made)
        with found.client("admin") as client:
            body = {"dataset": "shapes100", "preset": "baseline-cnn", "name": CANARY}
            found.run = client.post("/api/runs", json=body).json()["id"]
        yield found


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FastAPI]:
    made = create_app(Settings(home=tmp_path_factory.mktemp("unused")))
    yield made
    made.state.database.close()


def walk(routes: Iterable[BaseRoute]) -> Iterator[BaseRoute]:
    """Every route, also those of routers that were included."""
    for route in routes:
        inner = getattr(route, "original_router", None)
        if inner is None:
            yield route
        else:
            yield from walk(inner.routes)


def paths_of(app: FastAPI) -> dict[str, set[str]]:
    """The methods of each path, as the routes have it."""
    found: dict[str, set[str]] = {}
    for route in walk(app.routes):
        if isinstance(route, Mount):
            found.setdefault(f"{route.path}/css/base.css", set()).update({"GET", "HEAD"})
        else:
            assert isinstance(route, Route | APIRoute), route
            found.setdefault(route.path, set()).update(route.methods or ())
    return found


def filled(path: str, run: str) -> str:
    values = {
        "run_id": run,
        "name": "shapes100",
        "split": "train",
        "row": "0",
        "step": "1",
        "scope": "x",
        "to": "first",
    }
    for part in path.split("/"):
        if part.startswith("{"):
            name = part.partition("}")[0].strip("{").partition(":")[0]
            path = path.replace(part.partition("}")[0] + "}", values.get(name, "1"))
    return path


def test_every_route_and_method_without_credentials(locked: Locked, app: FastAPI) -> None:
    paths = paths_of(app)
    assert len(paths) > 80
    assert paths.keys() > app.openapi()["paths"].keys()
    state = snapshot(locked)
    let_in = set()
    with locked.client() as client:
        for path in [*paths, "/nothing", "/api/nothing", "/v2/nothing"]:
            for method in METHODS:
                answer = client.request(method, filled(path, locked.run), headers={"accept": "text/html, */*"})
                assert CANARY not in answer.text
                if is_open(path):
                    let_in.add(path)
                    assert answer.status_code in ({200, 303, 401} if method in paths[path] else {405}), (method, path)
                elif path.startswith(("/api/", "/v2", "/metrics", "/openapi.json")):
                    assert answer.status_code == 401, (method, path)
                    assert answer.headers["www-authenticate"] == "Bearer"
                else:
                    assert answer.status_code == 303, (method, path)
                    assert answer.headers["location"].startswith("/login"), (method, path)
    assert let_in == {"/login", "/healthz", "/readyz", "/static/css/base.css"}
    assert snapshot(locked) == state


def snapshot(locked: Locked) -> Any:
    with locked.client("admin") as client:
        return [client.get(path).json() for path in ("/api/runs", "/api/datasets", "/api/tasks", "/api/models")]


def test_every_route_has_a_rule_or_is_known_to_be_for_admins(app: FastAPI) -> None:
    """A new route is closed to tokens without `admin` until app/scopes.py names it."""
    unruled = {
        f"{method} {path}"
        for path, methods in paths_of(app).items()
        for method in methods - {"HEAD"}
        if not is_open(path) and not suffices(method, filled(path, "x"))
    }
    assert unruled == ADMIN_ONLY


def test_the_document_says_how_a_token_is_sent(app: FastAPI) -> None:
    document = app.openapi()
    assert document["components"]["securitySchemes"]["token"] == {"type": "http", "scheme": "bearer"}
    assert {"token": []} in document["security"]


def test_a_websocket_is_closed(app: FastAPI) -> None:
    sent: list[Any] = []

    async def receive() -> Any:
        return {"type": "websocket.connect"}

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {"type": "websocket", "path": "/api/events", "headers": [], "query_string": b""}
    with ThreadPoolExecutor(1) as thread:
        thread.submit(lambda: asyncio.run(app(scope, receive, send))).result()
    assert sent == [{"type": "websocket.close", "code": 1008}]


READS = (
    "/", "/runs/{run}", "/lanes", "/datasets", "/system", "/api/runs", "/api/runs/{run}", "/api/datasets", "/metrics",
    "/openapi.json", "/docs", "/api/workers", "/results", "/models", "/compare",
)  # fmt: skip
LAUNCHES = (
    ("POST", "/api/runs"), ("PATCH", "/api/runs/0"), ("DELETE", "/api/runs/0"), ("POST", "/api/runs/0/stop"),
    ("POST", "/api/runs/bulk"), ("POST", "/runs/0/delete"), ("POST", "/runs"), ("POST", "/api/datasets"),
    ("PUT", "/api/models/x"), ("POST", "/api/tasks/0/retry"),
)  # fmt: skip
PREDICTS = (("POST", "/api/predict"), ("POST", "/v2/models/x/infer"))
ADMINS = (("GET", "/tokens"), ("POST", "/tokens"), ("POST", "/tokens/x/revoke"), ("GET", "/nothing"), ("PUT", "/api/x"))


@pytest.mark.parametrize(
    ("token", "may"),
    [
        ("read", {"reads", "protocol"}),
        ("predict", {"predicts", "protocol"}),
        ("both", {"reads", "predicts", "protocol"}),
        ("launch", {"reads", "predicts", "launches", "protocol"}),
        ("admin", {"reads", "predicts", "launches", "admins", "protocol"}),
    ],
)
def test_scopes(locked: Locked, token: str, may: set[str]) -> None:
    rows = [("reads", "GET", path) for path in READS] + [("protocol", "GET", "/v2")]
    for group, calls in (("launches", LAUNCHES), ("predicts", PREDICTS), ("admins", ADMINS)):
        rows += [(group, method, path) for method, path in calls]
    with locked.client(token) as client:
        for group, method, path in rows:
            answer = client.request(method, path.replace("{run}", locked.run))
            assert (answer.status_code == 403) == (group not in may), (method, path, answer.status_code)
            assert answer.status_code != 401
            if answer.status_code == 403:
                assert answer.json()["error"]["code"] == "scope_missing"


def test_a_path_of_the_servers_disk_is_for_admins(locked: Locked) -> None:
    body = {"name": "disk", "source": "/etc"}
    with locked.client("launch") as client:
        assert_error(client.post("/api/datasets", json=body), 403)
    with locked.client("admin") as client:
        assert client.post("/api/datasets", json=body).status_code in (202, 422)


def test_wrong_tokens_and_tokens_where_none_belongs(locked: Locked) -> None:
    good = locked.tokens["admin"]
    with locked.client() as client:
        for sent in ("Bearer", "Bearer nonsense", f"Bearer {good}x", f"Bearer {good[:-1]}", f"Basic {good}",
                     f"Bearer {good} x", good, "Bearer \xff"):  # fmt: skip
            assert_error(client.get("/api/runs", headers=[(b"authorization", sent.encode("latin-1"))]), 401)
        for query in (f"token={good}", f"access_token={good}", f"authorization=Bearer%20{good}"):
            assert_error(client.get(f"/api/runs?{query}"), 401)
        assert_error(client.get("/api/runs", headers={"cookie": f"{cookie_name(locked)}={good}"}), 401)
        # A token that is sent decides, whatever the cookie.
    with locked.signed_in() as client:
        assert client.get("/api/runs").status_code == 200
        assert_error(client.get("/api/runs", headers={"authorization": "Bearer nonsense"}), 401)
        read = {"authorization": f"Bearer {locked.tokens['read']}"}
        assert_error(client.post("/api/runs/0/stop", headers=read), 403)


def cookie_name(locked: Locked) -> str:
    return f"trackside-{locked.server.settings.port}"


def sign_in(client: httpx.Client, password: str = PASSWORD, **fields: str) -> httpx.Response:
    return client.post("/login", data={"password": password, **fields})


def test_the_cookie_and_the_way_back(locked: Locked) -> None:
    with locked.client() as client:
        sent_away = client.get(f"/runs/{locked.run}?tab=log&x=%26")
        assert sent_away.status_code == 303
        form = client.get(sent_away.headers["location"])
        assert f'name="next" value="/runs/{locked.run}?tab=log&amp;x=%26"' in form.text
        answer = sign_in(client, next=f"/runs/{locked.run}?tab=log")
        assert answer.headers["location"] == f"/runs/{locked.run}?tab=log"
        (morsel,) = SimpleCookie(answer.headers["set-cookie"]).values()
        assert morsel.key == cookie_name(locked)
        assert morsel["httponly"] is True
        assert morsel["samesite"].lower() == "lax"
        assert morsel["path"] == "/"
        assert not morsel["domain"]
        assert not morsel["secure"]
        assert int(morsel["max-age"]) == 30 * 86_400
        page = client.get(f"/runs/{locked.run}")
        assert page.status_code == 200
        assert CANARY in page.text


@pytest.mark.parametrize(
    ("address", "secure"), [("127.0.0.1", False), (PROXY, True)], ids=["not believed", "a trusted proxy"]
)
def test_https_is_believed_of_a_trusted_proxy_alone(locked: Locked, address: str, secure: bool) -> None:
    with locked.client(address=address) as client:
        client.headers["x-forwarded-proto"] = "https"
        answer = sign_in(client)
    assert ("secure" in answer.headers["set-cookie"].lower()) is secure


def test_tampered_and_expired_cookies(locked: Locked) -> None:
    with locked.signed_in() as client:
        cookie = client.cookies[cookie_name(locked)]
    name, until, signature = cookie.split(".")
    with locked.client() as client:
        for value in ("", "x", "..", f"{name}.{int(until) + 1}.{signature}", f"x{name}.{until}.{signature}",
                      f"{name}.{until}.{signature[:-1]}", f"{name}.{until}.", f"{name}.{until}"):  # fmt: skip
            answer = client.get("/api/runs", headers={"cookie": f"{cookie_name(locked)}={value}"})
            assert_error(answer, 401)
        assert client.get("/api/runs", headers={"cookie": f"a=b; {cookie_name(locked)}={cookie}"}).status_code == 200


def test_passwords_are_tried_a_few_times_a_minute(locked: Locked) -> None:
    with locked.client(address="127.0.0.9") as client:
        for _ in range(5):
            answer = sign_in(client, "wrong")
            assert answer.status_code == 401
            assert "That is not the password" in answer.text
        for password in ("wrong", PASSWORD):
            answer = sign_in(client, password)
            assert answer.status_code == 429
            assert 0 < int(answer.headers["retry-after"]) <= 61
            assert "set-cookie" not in answer.headers
    # A proxy's visitors are told apart; what others claim of themselves is not believed.
    with locked.client(address=PROXY) as client:
        for status, visitor in ((429, "127.0.0.9"), (303, "192.0.2.7")):
            client.headers["x-forwarded-for"] = visitor
            assert sign_in(client).status_code == status
    with locked.client(address="127.0.0.9") as client:
        client.headers["x-forwarded-for"] = "192.0.2.8"
        assert sign_in(client).status_code == 429


def test_a_login_from_another_site_is_refused(locked: Locked) -> None:
    with locked.client() as client:
        for headers in ({"origin": "http://evil.example"}, {"sec-fetch-site": "cross-site"}):
            assert client.post("/login", data={"password": PASSWORD}, headers=headers).status_code == 403


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


def test_a_cookie_that_was_signed_out_is_no_good_to_a_thief(locked: Locked) -> None:
    with locked.signed_in() as client, locked.signed_in() as other:
        stolen = client.cookies[cookie_name(locked)]
        client.post("/logout")
        answer = client.get("/api/runs", headers={"cookie": f"{cookie_name(locked)}={stolen}"})
        assert_error(answer, 401)
        assert other.get("/api/runs").status_code == 200
        other.post("/logout", data={"everywhere": "1"})
        assert_error(other.get("/api/runs"), 401)


def test_tokens_are_made_and_revoked_on_their_page(locked: Locked) -> None:
    with locked.signed_in() as client:
        made = client.post("/tokens", data={"name": "from-the-page", "scope": ["read", "predict"]})
        assert made.status_code == 200
        assert made.headers["cache-control"] == "no-store"
        text = made.text.partition("data-made")[2].partition(">")[2].partition("<")[0]
        assert text.startswith("trackside_")
        locked.tokens["from-the-page"] = text
        with locked.client("from-the-page") as program:
            assert program.get("/api/runs").status_code == 200
        page = client.get("/tokens").text
        assert text not in page
        row = page.partition('data-token="from-the-page"')[2].partition("</tr>")[0]
        assert "predict, read" in row
        assert "never" not in row
        for data, status in (({"name": "from-the-page", "scope": "read"}, 409), ({"name": "a b", "scope": "read"}, 422),
                             ({"name": "ok"}, 422), ({"name": "ok", "scope": "all"}, 422)):  # fmt: skip
            assert_error(client.post("/tokens", data=data), status)
        assert client.post("/tokens/from-the-page/revoke").status_code == 303
        assert_error(client.post("/tokens/from-the-page/revoke"), 404)
        with locked.client("from-the-page") as program:
            assert_error(program.get("/api/runs"), 401)


def test_nothing_is_kept_or_logged_in_the_clear(locked: Locked) -> None:
    access = locked.server.settings.access
    assert access.stat().st_mode & 0o777 == 0o700
    assert {path.name for path in access.iterdir()} >= {"password.json", "tokens.json", "signed-out.json", "lock"}
    for path in access.iterdir():
        assert path.stat().st_mode & 0o777 == 0o600, path
    kept = b"".join(path.read_bytes() for path in locked.server.home.glob("**/*") if path.is_file())
    for secret in (PASSWORD, *locked.tokens.values()):
        assert secret.encode() not in kept


@pytest.mark.parametrize(
    ("wanted", "back"),
    [
        ("/", "/"),
        ("/runs/x?tab=log&a=%2F", "/runs/x?tab=log&a=%2F"),
        ("//evil.example", "/"),
        ("/\\evil.example", "/"),
        ("/x\\y", "/"),
        ("/\t/evil.example", "/"),
        ("/%09/evil", "/%09/evil"),
        ("https://evil.example", "/"),
        ("javascript:alert(1)", "/"),
        ("/a\r\nSet-Cookie: x=y", "/"),
        ("", "/"),
        ("runs", "/"),
        ("/login?next=/", "/"),
        ("/é", "/"),
    ],
)
def test_only_our_own_pages_are_gone_back_to(wanted: str, back: str) -> None:
    assert way_back(wanted) == back


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.0.1", "::1", "localhost"])
def test_on_the_loopback_nobody_is_asked(tmp_path: Path, host: str) -> None:
    check_exposure(Settings(home=tmp_path, host=host))
    visitor = Visitor(Settings(home=tmp_path, host=host))
    assert visitor.get("/api/presets").status_code == 200
    assert visitor.get("/login").headers["location"] == "/"
    assert "trackside password" in visitor.get("/tokens").text
    assert visitor.post("/tokens", {"name": "early", "scope": "admin"}).status_code == 409
    visitor.app.state.database.close()


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.7", "machine.lan", "::ffff:0:1"])
def test_other_addresses_want_a_password(tmp_path: Path, host: str) -> None:
    settings = Settings(home=tmp_path, host=host)
    with pytest.raises(Exposed, match=r"trackside password(.|\n)*--insecure"):
        check_exposure(settings)
    check_exposure(Settings(home=tmp_path, host=host, insecure=True))
    visitor = Visitor(settings)  # as after `trackside password --remove` while it serves
    assert_error(visitor.get("/api/presets"), 401)
    assert "nobody can sign in" in visitor.get("/login").text
    assert "nobody can sign in" in visitor.post("/login", {"password": ""}).text
    PasswordFile(settings.access).set(PASSWORD, n=CHEAP)
    check_exposure(settings)
    assert_error(visitor.get("/api/presets"), 401)
    assert visitor.post("/login", {"password": PASSWORD}).status_code == 303
    visitor.app.state.database.close()


@pytest.mark.parametrize(
    "content", [b"", b"{", b"{}", b'{"n": 2, "r": 8, "p": 1, "salt": "x", "hash": "", "secret": ""}']
)
def test_a_damaged_password_file_opens_nothing(tmp_path: Path, content: bytes) -> None:
    settings = Settings(home=tmp_path)
    PasswordFile(settings.access).set(PASSWORD, n=CHEAP)
    visitor = Visitor(settings)
    (settings.access / "password.json").write_bytes(content)
    assert_error(visitor.get("/api/presets"), 503)
    assert visitor.get("/").status_code == 503
    assert visitor.get("/healthz").status_code == 200
    visitor.app.state.database.close()


def test_a_token_that_is_sent_is_heeded_without_a_password_too(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path)
    visitor = Visitor(settings)
    dummy = {"authorization": "Bearer dummy"}
    assert visitor.get("/api/presets", dummy).status_code == 200  # there are no tokens: nothing is asked
    text = Tokens(settings.access).add("reader", [Scope.READ])
    assert_error(visitor.get("/api/presets", dummy), 401)
    assert visitor.get("/api/presets", {"authorization": f"bearer {text}"}).status_code == 200
    assert visitor.get("/tokens", {"authorization": f"bearer {text}"}).status_code == 403
    assert visitor.get("/api/presets").status_code == 200
    visitor.app.state.database.close()


def test_a_few_attempts_a_minute_by_each_and_by_all() -> None:
    attempts = LoginAttempts()
    assert [attempts.take("a", now) for now in range(BY_PEER)] == [0.0] * BY_PEER
    assert attempts.take("a", 10.0) == 50.0
    attempts.forget("a")
    assert attempts.take("a", 10.0) == 0.0
    for number in range(1, IN_ALL):
        assert attempts.take(f"192.0.2.{number}", 20.0) == 0.0
    assert attempts.take("198.51.100.1", 30.0) == 40.0
    assert attempts.take("198.51.100.1", 71.0) == 0.0
    assert attempts.take("198.51.100.1", 79.9) > 0  # 29 of that minute and this one
    assert attempts.take("198.51.100.1", 80.0) == 0.0


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("2001:db8::1", "2001:db8::ffff:1", True),
        ("2001:db8::1", "2001:db8:0:1::1", False),
        ("::ffff:192.0.2.1", "::ffff:192.0.2.2", False),
        ("192.0.2.1", "192.0.2.2", False),
        ("nonsense", "nonsense", True),
    ],
)
def test_who_counts_as_one_peer(one: str, other: str, same: bool) -> None:
    assert (peer_of(one) == peer_of(other)) is same


def test_a_password_is_slow_to_guess_and_the_same_from_any_keyboard(tmp_path: Path) -> None:
    file = PasswordFile(tmp_path)
    for unfit in ("", "seven77", "x" * 1025):
        with pytest.raises(PasswordUnfit):
            file.set(unfit)
    file.set("cafe\u0301 au lait")
    kept = file.current()
    assert kept is not None
    assert (kept.n, kept.r, kept.p, len(kept.salt), len(kept.secret)) == (2**17, 8, 1, 16, 32)
    assert kept.matches("caf\u00e9 au lait")


def test_last_uses_are_written_aside(tmp_path: Path) -> None:
    tokens = Tokens(tmp_path)
    texts = [tokens.add(name, [Scope.READ]) for name in ("a", "b")]
    before = (tmp_path / "tokens.json").stat().st_mtime_ns
    assert tokens.find(texts[0]) is not None
    assert not (tmp_path / "token-uses.json").exists()
    tokens.write_uses()
    used = {token.name: when for token, when in Tokens(tmp_path).list()}
    assert used["a"] == pytest.approx(time.time(), abs=30)
    assert used["b"] is None
    assert (tmp_path / "tokens.json").stat().st_mtime_ns == before
    tokens.revoke("a")
    assert tokens.find(texts[0]) is None
    tokens.write_uses()
    assert (tmp_path / "token-uses.json").read_bytes() == b"{}"


@dataclass
class Commands:
    home: Path

    def run(self, *arguments: str, typed: str = "") -> tuple[int, str]:
        """In this process, for speed."""
        ended = CliRunner().invoke(cli.main, arguments, input=typed, env={"TRACKSIDE_HOME": str(self.home)})
        return ended.exit_code, ended.output


def test_from_a_refusal_to_a_session_and_back(tmp_path: Path) -> None:
    """Real servers that would listen on every address; and nothing secret in what they print."""
    environment = {**os.environ, "TRACKSIDE_HOME": str(tmp_path)}
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
    database = Database(Settings(home=tmp_path).url)
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
    server = Server(tmp_path, Settings(home=tmp_path, port=port), {"web": process})
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
