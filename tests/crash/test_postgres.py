"""A whole installation on PostgreSQL: runs train, are killed and go on, and the database server may be restarted."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from app.commands.reindex import reindex
from app.settings import Settings
from app.storage.db import UnusableDatabase
from tests.conftest import NARROW, Server, new_server, wait_for
from tests.crash.series import assert_whole
from tests.postgres import Postgres, needs_postgres, postgres

pytestmark = needs_postgres


@pytest.fixture(scope="module")
def database() -> Iterator[Postgres]:
    with postgres() as found:
        yield found


@pytest.fixture
def server(tmp_path: Path, few_shapes: Path, database: Postgres) -> Iterator[Server]:
    found = new_server(tmp_path / "home", few_shapes, database_url=database.new_database())
    yield found
    found.close()


@pytest.mark.timeout(240)
def test_a_run_is_watched_killed_and_goes_on_over_a_restart_of_the_database(server: Server, database: Postgres) -> None:
    server.start("web", "worker")
    run = server.launch(overrides={**NARROW, "epochs": 12, "log_every": 5})
    heard: list[str] = []

    def listen() -> None:
        address = f"{server.url}/api/runs/{run}/events"
        with httpx.stream("GET", address, params={"kinds": "metrics"}, timeout=60) as answer:
            for line in answer.iter_lines():
                heard.append(line)
                if sum(item.startswith("data:") for item in heard) > 10:
                    return

    listener = threading.Thread(target=listen)
    listener.start()
    server.wait_step(run, 20)
    server.kill("worker")
    server.start("worker")
    server.wait_step(run, 60)
    listener.join(60)
    assert not listener.is_alive()
    database.stop()
    assert httpx.get(f"{server.url}/api/runs", timeout=30).status_code == 503
    database.start()
    wait_for(lambda: httpx.get(f"{server.url}/api/runs", timeout=30).status_code == 200, 30, "an answer")
    ended = server.wait_status(run, "finished", seconds=120)
    assert_whole(server.series(run), ended["total_steps"])
    with server.client() as client:
        for path in ("/", f"/runs/{run}", "/results", "/system", f"/compare?runs={run}", "/?q=lr<1&sort=-val/acc"):
            assert client.get(path, headers={"Accept": "text/html"}).status_code == 200, path
        for path in ("/api/runs/%00", "/api/tasks/%00", "/api/compare?runs=%00"):
            assert client.get(path).status_code == 404, path


def test_a_home_moves_to_postgresql_and_back(tmp_path: Path, few_shapes: Path, database: Postgres) -> None:
    server = new_server(tmp_path / "home", few_shapes)
    server.start("web", "worker")
    run = server.launch(overrides={**NARROW, "max_steps": 20})
    server.wait_status(run, "finished")
    expected = server.series(run)
    server.close()
    for url in (database.new_database(), None):
        moved = Settings(home=server.home, port=server.settings.port, database_url=url)
        for _ in range(2):
            (item,) = reindex(moved, from_nothing=True)
            assert item.status == "finished"
        assert list(reindex(moved)) == []
        there = Server(server.home, moved)
        there.start("web")
        assert there.series(run) == expected
        there.close()


def test_two_homes_on_one_database_are_refused(tmp_path: Path, database: Postgres) -> None:
    url = database.new_database()
    first, second = (Settings(home=tmp_path / name, database_url=url) for name in ("first", "second"))
    assert list(reindex(first)) == []
    assert list(reindex(first)) == []
    with pytest.raises(UnusableDatabase, match=f"belongs to the home {tmp_path / 'first'}"):
        list(reindex(second))
    assert list(reindex(second, from_nothing=True)) == []
