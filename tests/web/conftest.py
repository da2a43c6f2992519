"""One real web process for the tests that only ask and are refused; without a worker nothing runs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from app.db import Database
from app.settings import Settings
from app.supervisor import free_port
from tests.conftest import Server


@contextmanager
def web_process(home: Path, shapes: Path, **environment: str) -> Iterator[Server]:
    # A copy of the folder's entry, so that nothing is written beside the shared data set.
    (home / "datasets").mkdir()
    (home / "datasets" / "shapes100").symlink_to(shapes / "shapes100")
    settings = Settings(home=home, port=free_port("127.0.0.1"))
    database = Database(settings.url)
    database.migrate()
    database.close()
    server = Server(home, settings)
    server.start("web", **environment)
    yield server
    server.close()


@pytest.fixture(scope="module")
def web(tmp_path_factory: pytest.TempPathFactory, shapes: Path) -> Iterator[Server]:
    limits = {"TRACKSIDE_MAX_STREAMS": "3", "TRACKSIDE_MAX_DATASET_BYTES": str(8 << 20)}
    with web_process(tmp_path_factory.mktemp("web"), shapes, **limits) as server:
        yield server


@pytest.fixture
def api(web: Server) -> Iterator[httpx.Client]:
    with web.client() as client:
        yield client
