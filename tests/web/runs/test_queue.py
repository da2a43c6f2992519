"""The order of the queue and actions on many runs, over HTTP."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from app.commands.reindex import reindex
from tests.conftest import Server
from tests.databases import delete_database
from tests.web.conftest import web_process


@pytest.fixture
def own(tmp_path: Path, shapes: Path) -> Iterator[Server]:
    """A server for one test, since the tests depend on the whole queue."""
    (tmp_path / "home").mkdir()
    with web_process(tmp_path / "home", shapes) as server:
        yield server


@pytest.fixture
def api(own: Server) -> Iterator[httpx.Client]:
    with own.client() as client:
        yield client


def launch(api: httpx.Client, name: str, **body: object) -> str:
    answer = api.post("/api/runs", json={"dataset": "shapes100", "preset": "baseline-cnn", "name": name, **body})
    assert answer.status_code == 201, answer.text
    run_id: str = answer.json()["id"]
    return run_id


def test_runs_are_moved_and_stay_so_when_the_database_is_lost(api: httpx.Client, own: Server) -> None:
    ids = {name: launch(api, name) for name in "abcd"}
    ids["e"] = launch(api, "e", priority=5)
    assert own.waiting() == ["e", "a", "b", "c", "d"]

    def move(name: str, to: str) -> None:
        assert api.post(f"/api/runs/{ids[name]}/move", json={"to": to}).status_code == 200

    move("d", "next")
    assert own.waiting() == ["d", "e", "a", "b", "c"]
    move("c", "up")
    assert own.waiting() == ["d", "e", "a", "c", "b"]
    move("d", "down")
    move("d", "down")
    assert own.waiting() == ["e", "a", "d", "c", "b"]
    move("e", "up")
    move("b", "down")
    move("b", "now")  # no run is running, so it becomes the first in the queue
    order = ["b", "e", "a", "d", "c"]
    assert own.waiting() == order

    own.stop("web")
    delete_database(own.settings)
    assert all(item.status == "queued" for item in reindex(own.settings))
    assert own.waiting() == order


def test_what_cannot_be_moved(api: httpx.Client) -> None:
    run_id = launch(api, "a")
    assert api.post(f"/api/runs/{run_id}/move", json={"to": "left"}).status_code == 422
    assert api.post("/api/runs/none/move", json={"to": "up"}).status_code == 404
    api.post(f"/api/runs/{run_id}/stop")
    assert api.post(f"/api/runs/{run_id}/move", json={"to": "up"}).status_code == 409


def test_many_runs_at_once(api: httpx.Client) -> None:
    ids = [launch(api, name) for name in "abc"]

    def act(action: str, *, on: list[str] = ids, **more: object) -> list[bool]:
        answer = api.post("/api/runs/bulk", json={"ids": on, "action": action, **more})
        assert answer.status_code == 200, answer.text
        results = answer.json()["results"]
        assert all(item["done"] or item["reason"] for item in results)
        return [item["done"] for item in results]

    assert act("tag", tag="night") == [True, True, True]
    assert act("star", on=[*ids[:1], "none"]) == [True, False]
    assert [run["id"] for run in api.get("/api/runs?starred=true").json()["items"]] == ids[:1]
    assert len(api.get("/api/runs?tag=night").json()["items"]) == 3
    assert act("untag", tag="night", on=ids[1:]) == [True, True]
    assert act("stop", on=ids[:2]) == [True, True]
    assert act("stop") == [False, False, True]
    assert act("delete", on=[*ids[1:], ids[1]]) == [True, True]
    assert [run["id"] for run in api.get("/api/runs").json()["items"]] == ids[:1]
    for body in (
        {"ids": [], "action": "stop"}, {"ids": ["x"] * 1001, "action": "stop"}, {"ids": ids, "action": "tag"},
        {"ids": ids, "action": "stop", "tag": "a"}, {"ids": ids, "action": "burn"},
    ):  # fmt: skip
        assert api.post("/api/runs/bulk", json=body).status_code == 422


def test_variants_are_queued_as_a_group_or_not_at_all(api: httpx.Client) -> None:
    body = {"dataset": "shapes100", "preset": "baseline-cnn", "vary": {"optimizer.lr": [1e-4, 3e-4], "seed": [0, 1]}}
    answer = api.post("/api/runs/variants", json=body)
    assert answer.status_code == 201
    made = answer.json()
    listed = api.get(answer.headers["location"]).json()["items"]
    assert {run["id"] for run in listed} == {run["id"] for run in made["runs"]}
    assert len(made["runs"]) == 4
    assert {run["group"] for run in made["runs"]} == {made["group"]}
    assert {(run["spec"]["optimizer"]["lr"], run["spec"]["seed"]) for run in made["runs"]} == {
        (1e-4, 0), (1e-4, 1), (3e-4, 0), (3e-4, 1)
    }  # fmt: skip
    for vary, field in (
        ({"optimizer.lr": [1e-4, -1]}, "optimizer.lr"),
        ({"optimizer.lr": {"low": 1e-4, "high": 1e-2}}, "optimizer.lr"),
        ({"nothing": [1, 2]}, "nothing"),
        ({"seed": []}, "seed"),
        ({"seed": {"low": 2, "high": 1}}, "seed"),
    ):
        answer = api.post("/api/runs/variants", json={**body, "vary": vary})
        assert answer.status_code == 422
        faults = answer.json()["error"]["detail"]
        assert field in str(faults)
        assert not any("[" in fault["field"] for fault in faults)
    assert len(api.get("/api/runs").json()["items"]) == 4
