"""Liveness (/healthz), readiness (/readyz) and Prometheus metrics."""

from __future__ import annotations

import httpx

from app.storage.db import Database
from app.storage.tables import Worker
from tests.conftest import Server
from tests.databases import ON_POSTGRES, damage_database
from tests.web.errors import assert_error


def test_ready_when_a_worker_is_seen_and_the_database_is_there(server: Server) -> None:
    server.start("web", TRACKSIDE_EXPECT_WORKERS="1")
    database = Database(server.settings.url)
    with server.client() as client:
        answer = client.get("/readyz")
        assert_error(answer, 503)
        assert "retry-after" in answer.headers
        with database.write() as session:
            session.add(Worker(id="cpu/1/1.00", host="h", pid=1, device="cpu"))
        assert client.get("/readyz").json() == {"status": "ready", "workers": 1}
        assert [worker["device"] for worker in client.get("/api/workers").json()] == ["cpu"]
        damage_database(server.settings)
        answer = client.get("/readyz")
        assert_error(answer, 503)
        assert answer.json()["error"]["code"] == "database_unavailable"
        assert client.get("/healthz").status_code == 200
    database.close()


def test_numbers_for_prometheus(api: httpx.Client) -> None:
    api.post("/api/runs", json={"dataset": "shapes100", "preset": "baseline-cnn"})
    answer = api.get("/metrics")
    assert answer.headers["content-type"].startswith("text/plain")
    assert 'trackside_runs{status="queued"}' in answer.text
    assert "trackside_live_streams 0.0" in answer.text


def test_the_system_names_the_database_and_its_size(api: httpx.Client) -> None:
    state = api.get("/api/system").json()
    product = "postgresql" if ON_POSTGRES else "sqlite"
    assert int(state["versions"][product].split(".")[0]) >= 3
    assert state["disk"]["database"] > 0
    assert state["versions"][product] in api.get("/system").text
