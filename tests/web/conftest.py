"""One real web process per test module, for tests that only send requests. Without a worker, no run starts."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from app.auth.password import PasswordFile
from app.auth.scopes import Scope
from app.auth.tokens import Tokens
from app.storage.db import Database
from app.supervisor import free_port
from tests.conftest import Server
from tests.databases import settings_of
from tests.web.locked import CANARY, CHEAP, PASSWORD, PROXY, Locked


@contextmanager
def web_process(home: Path, shapes: Path, **environment: str) -> Iterator[Server]:
    # Link only the dataset, not the datasets folder, so that nothing is written next to the shared dataset.
    (home / "datasets").mkdir(exist_ok=True)
    (home / "datasets" / "shapes100").symlink_to(shapes / "shapes100")
    settings = settings_of(home, port=free_port("127.0.0.1"))
    database = Database(settings.url)
    database.migrate()
    database.close()
    server = Server(home, settings)
    server.start("web", **environment)
    yield server
    server.close()


@pytest.fixture(scope="module")
def web(tmp_path_factory: pytest.TempPathFactory, shapes: Path) -> Iterator[Server]:
    with web_process(tmp_path_factory.mktemp("web"), shapes, TRACKSIDE_MAX_STREAMS="3") as server:
        yield server


@pytest.fixture
def api(web: Server) -> Iterator[httpx.Client]:
    with web.client() as client:
        yield client


@pytest.fixture(scope="module")
def locked(tmp_path_factory: pytest.TempPathFactory, shapes: Path) -> Iterator[Locked]:
    home = tmp_path_factory.mktemp("locked")
    access = settings_of(home).access
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
