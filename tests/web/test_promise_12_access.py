"""Promise 12: no request without credentials reads or changes anything once a password is set."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.routing import APIRoute
from starlette.routing import BaseRoute, Mount, Route

from app.auth.exposure import Exposed, check_exposure
from app.auth.password import PasswordFile
from app.auth.scopes import is_open, sufficient_scopes
from app.main import create_app
from app.settings import Settings
from tests.web.errors import assert_error
from tests.web.locked import CANARY, CHEAP, PASSWORD, Locked
from tests.web.test_pages import Visitor

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
ADMIN_ONLY = {
    "GET /tokens", "POST /tokens", "POST /tokens/{name}/revoke", "POST /logout",
    "POST /api/nodes/{name}/drain", "POST /api/nodes/{name}/resume",
    "POST /system/nodes/{name}/drain", "POST /system/nodes/{name}/resume",
}  # fmt: skip


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FastAPI]:
    made = create_app(Settings(home=tmp_path_factory.mktemp("unused")))
    yield made
    made.state.services.database.close()


def walk(routes: Iterable[BaseRoute]) -> Iterator[BaseRoute]:
    """Yield every route, including those of included routers."""
    for route in routes:
        inner = getattr(route, "original_router", None)
        if inner is None:
            yield route
        else:
            yield from walk(inner.routes)


def paths_of(app: FastAPI) -> dict[str, set[str]]:
    """Return the methods of each path, taken from the routes."""
    found: dict[str, set[str]] = {}
    for route in walk(app.routes):
        if isinstance(route, Mount):
            found.setdefault(f"{route.path}/css/base.css", set()).update({"GET", "HEAD"})
        else:
            assert isinstance(route, Route | APIRoute), route
            found.setdefault(route.path, set()).update(route.methods or ())
    for methods in found.values():
        if "GET" in methods:
            methods.add("HEAD")
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


def test_promise_12_every_route_and_method_without_credentials(locked: Locked, app: FastAPI) -> None:
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


def test_promise_12_every_route_has_a_rule_or_is_known_to_be_for_admins(app: FastAPI) -> None:
    """A new route requires the `admin` scope until app/auth/scopes.py lists it."""
    unruled = {
        f"{method} {path}"
        for path, methods in paths_of(app).items()
        for method in methods - {"HEAD"}
        if not is_open(path) and not sufficient_scopes(method, filled(path, "x"))
    }
    assert unruled == ADMIN_ONLY


def test_promise_12_a_websocket_is_closed(app: FastAPI) -> None:
    sent: list[Any] = []

    async def receive() -> Any:
        return {"type": "websocket.connect"}

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {"type": "websocket", "path": "/api/events", "headers": [], "query_string": b""}
    with ThreadPoolExecutor(1) as thread:
        thread.submit(lambda: asyncio.run(app(scope, receive, send))).result()
    assert sent == [{"type": "websocket.close", "code": 1008}]


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.0.1", "::1", "localhost"])
def test_on_the_loopback_nobody_is_asked(tmp_path: Path, host: str) -> None:
    check_exposure(Settings(home=tmp_path, host=host))
    visitor = Visitor(Settings(home=tmp_path, host=host))
    assert visitor.get("/api/presets").status_code == 200
    assert visitor.get("/login").headers["location"] == "/"
    assert "trackside password" in visitor.get("/tokens").text
    assert visitor.post("/tokens", {"name": "early", "scope": "admin"}).status_code == 409
    visitor.app.state.services.database.close()


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.7", "machine.lan", "::ffff:0:1"])
def test_promise_12_other_addresses_want_a_password(tmp_path: Path, host: str) -> None:
    settings = Settings(home=tmp_path, host=host)
    with pytest.raises(Exposed, match=r"trackside password(.|\n)*--insecure"):
        check_exposure(settings)
    check_exposure(Settings(home=tmp_path, host=host, insecure=True))
    visitor = Visitor(settings)  # as after `trackside password --remove` on a running server
    assert_error(visitor.get("/api/presets"), 401)
    assert "nobody can sign in" in visitor.get("/login").text
    assert "nobody can sign in" in visitor.post("/login", {"password": ""}).text
    PasswordFile(settings.access).set(PASSWORD, n=CHEAP)
    check_exposure(settings)
    assert_error(visitor.get("/api/presets"), 401)
    assert visitor.post("/login", {"password": PASSWORD}).status_code == 303
    visitor.app.state.services.database.close()


@pytest.mark.parametrize(
    "content", [b"", b"{", b"{}", b'{"n": 2, "r": 8, "p": 1, "salt": "x", "hash": "", "secret": ""}']
)
def test_promise_12_a_damaged_password_file_opens_nothing(tmp_path: Path, content: bytes) -> None:
    settings = Settings(home=tmp_path)
    PasswordFile(settings.access).set(PASSWORD, n=CHEAP)
    visitor = Visitor(settings)
    (settings.access / "password.json").write_bytes(content)
    assert_error(visitor.get("/api/presets"), 503)
    assert visitor.get("/").status_code == 503
    assert visitor.get("/healthz").status_code == 200
    visitor.app.state.services.database.close()


def test_nothing_is_kept_or_logged_in_the_clear(locked: Locked) -> None:
    with locked.signed_in() as client:
        client.post("/logout")
    access = locked.server.settings.access
    assert access.stat().st_mode & 0o777 == 0o700
    assert {path.name for path in access.iterdir()} >= {"password.json", "tokens.json", "signed-out.json", "lock"}
    for path in access.iterdir():
        assert path.stat().st_mode & 0o777 == 0o600, path
    kept = b"".join(path.read_bytes() for path in locked.server.home.glob("**/*") if path.is_file())
    for secret in (PASSWORD, *locked.tokens.values()):
        assert secret.encode() not in kept
