"""Nodes over HTTP and on the System page: they are drained, and resumed."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import httpx
import pytest

from app.storage.db import Database
from app.storage.tables import Worker
from tests.conftest import Server
from tests.web.errors import assert_error


@pytest.fixture
def node(web: Server) -> Iterator[str]:
    """A node with two devices, one of which trains, beside a device of the home."""
    database = Database(web.settings.url)
    seen_at = datetime.now(UTC) + timedelta(hours=1)
    with database.write() as session:
        for device, run in (("big/cuda:0", "some-run"), ("big/cuda:1", None), ("cpu", None)):
            host = device.rpartition("/")[0] or "home"
            session.merge(Worker(id=device, host=host, pid=1, device=device, run=run, seen_at=seen_at))
    database.close()
    yield "big"
    with web.client() as client:
        client.post("/api/nodes/big/resume").raise_for_status()


def test_a_node_is_drained_and_resumed(api: httpx.Client, node: str) -> None:
    (found,) = api.get("/api/nodes").json()
    assert (found["name"], found["draining"]) == (node, None)
    assert [device["device"] for device in found["devices"]] == ["big/cuda:0", "big/cuda:1"]
    assert api.post(f"/api/nodes/{node}/drain").json()["draining"] == "finish"
    assert api.post(f"/api/nodes/{node}/drain", json={"runs": "move"}).json()["draining"] == "move"
    assert api.get("/api/nodes").json()[0]["draining"] == "move"
    assert api.post(f"/api/nodes/{node}/resume").json()["draining"] is None
    assert api.post(f"/api/nodes/{node}/resume").status_code == 200


def test_a_drained_node_is_listed_when_it_is_not_connected(web: Server, api: httpx.Client, node: str) -> None:
    api.post(f"/api/nodes/{node}/drain").raise_for_status()
    database = Database(web.settings.url)
    with database.write() as session:
        for number in (0, 1):
            session.delete(session.get_one(Worker, f"big/cuda:{number}"))
    database.close()
    assert api.get("/api/nodes").json() == [{"name": node, "draining": "finish", "devices": []}]
    assert "0 devices connected" in api.get("/system").text


@pytest.mark.parametrize("name", ["nowhere", "home", "%2e%2e", "..%2f..%2fruns", ".", "big%00"])
def test_what_is_no_node_is_not_drained(api: httpx.Client, node: str, name: str) -> None:
    assert_error(api.post(f"/api/nodes/{name}/drain"), 404)
    assert api.get("/api/nodes").json()[0]["draining"] is None


def test_an_unknown_way_to_drain_is_refused(api: httpx.Client, node: str) -> None:
    assert_error(api.post(f"/api/nodes/{node}/drain", json={"runs": "kill"}), 422)


def test_the_system_page_drains_and_resumes(api: httpx.Client, node: str) -> None:
    for path, form, said in (
        ("drain", {}, 'draining<span class="sub">: takes no new runs, finishes those that it trains'),
        ("drain", {"runs": "move"}, "saves its runs, which go on elsewhere"),
        ("resume", {}, "in use"),
    ):
        answer = api.post(f"/system/nodes/{node}/{path}", data=form)
        assert (answer.status_code, answer.headers["location"]) == (303, "/system")
        assert said in api.get("/system").text
        assert said in api.get("/system/workers").text
