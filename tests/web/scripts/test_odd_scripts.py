"""Scripts that log very much, or oddly; tokens that are revoked; and requests that make no sense for a script run."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from typing import Any

import httpx
import pytest
from fastapi.routing import APIRoute
from sqlmodel import func, select

from app.auth.scopes import Scope
from app.auth.tokens import Tokens
from app.main import create_app
from app.storage.db import Database
from app.storage.tables import Run, Series
from tests.conftest import Server, new_server, wait_for
from tests.databases import settings_of
from tests.web.locked import Locked
from tests.web.scripts.sender import Sender
from tests.web.test_promise_12_access import filled, walk

NAMES = 100_000
PER_LINE = 1000


@pytest.fixture(scope="module")
def followed(tmp_path_factory: pytest.TempPathFactory, shapes: Path) -> Iterator[Server]:
    """A web process and a worker."""
    server = new_server(tmp_path_factory.mktemp("odd") / "home", shapes)
    server.start("web", "worker")
    yield server
    server.close()


@pytest.fixture
def client(followed: Server) -> Iterator[httpx.Client]:
    with followed.client() as client:
        yield client


def count(server: Server, run_id: str) -> tuple[int, int]:
    """The number of series and of points that the database has of a run."""
    database = Database(server.settings.url)
    run = select(Run.key).where(Run.id == run_id).scalar_subquery()
    with database.read() as session:
        row = session.exec(
            select(func.count(), func.coalesce(func.sum(Series.total), 0)).where(Series.run == run)
        ).one()
    database.close()
    return row[0], int(row[1])


def test_no_route_fails_for_a_script_run(followed: Server, client: httpx.Client, tmp_path: Path) -> None:
    sender = Sender(client, "routes")
    sender.register(config={"seed": 1})
    sender.start()
    sender.metrics(0, **{"val/acc": 0.5, "train/loss": 1.0})
    sender.end()
    assert sender.post().status_code == 200
    followed.wait_status("routes", "finished")
    app = create_app(settings_of(tmp_path))
    tried = set()
    for route in walk(app.routes):
        if isinstance(route, APIRoute) and "{run_id}" in route.path and "events" not in route.path:
            for method in (route.methods or set()) - {"DELETE", "HEAD"}:
                body: dict[str, Any] | None = None if method == "GET" else {}
                answer = client.request(method, filled(route.path, "routes"), json=body)
                assert answer.status_code < 500, (method, route.path, answer.text)
                tried.add(route.path)
    app.state.services.database.close()
    assert len(tried) > 20
    pages = ("/predict?model=routes", "/models/routes", "/compare?runs=routes", "/runs/new?from=routes", "/results")
    for path in (*pages, "/api/predict?model=latest", "/api/compare?runs=routes", "/system", "/api/results?dataset="):
        assert client.get(path, headers={"Accept": "text/html"}).status_code < 500, path


def test_a_hundred_thousand_series(followed: Server, client: httpx.Client) -> None:
    sender, other = Sender(client, "series"), Sender(client, "beside", "b" * 8)
    for one in (sender, other):
        one.register()
        one.start()
    for line in range(NAMES // PER_LINE):
        sender.metrics(0, **{f"layer{line}/w{number}": number + 0.5 for number in range(PER_LINE)})
    assert sender.post().status_code == 200
    other.metrics(7, loss=1.0)
    assert other.post().status_code == 200
    wait_for(lambda: followed.run("beside")["step"] == 7, 30, "the other run")
    wait_for(lambda: count(followed, "series") == (NAMES, NAMES), 100, "all series")
    sender.metrics(1, **{"layer5/w1": 0.25})
    assert sender.post().status_code == 200
    wait_for(lambda: followed.run("series")["step"] == 1, 30, "one more point")
    assert followed.series("series", "layer5/w1")["layer5/w1"]["value"] == [1.5, 0.25]
    page = client.get("/runs/series", headers={"Accept": "text/html"})
    assert page.status_code == 200
    assert len(page.content) < 200_000
    assert "of 100,000 series" in page.text
    found = client.get("/runs/series", params={"find": "layer99/w99"}, headers={"Accept": "text/html"})
    assert "11 of 11 series" in found.text


def test_an_event_is_live_within_a_quarter_of_a_second(followed: Server, client: httpx.Client) -> None:
    sender = Sender(client, "latency")
    sender.register()
    sender.start()
    assert sender.post().status_code == 200
    arrived: dict[int, float] = {}
    opened = threading.Event()

    def listen() -> None:
        url = f"{followed.url}/api/events?runs=latency&kinds=metrics"
        with httpx.stream("GET", url, timeout=60) as stream:
            opened.set()
            for line in stream.iter_lines():
                if line.startswith("data:") and '"series"' in line:
                    steps = json.loads(line[5:])["series"]["loss"]["step"]
                    arrived.update(dict.fromkeys(steps, time.monotonic()))
                if 39 in arrived:
                    return

    listener = threading.Thread(target=listen)
    listener.start()
    assert opened.wait(30)
    sent = {}
    for step in range(40):
        sender.metrics(step, loss=1.0)
        sent[step] = time.monotonic()
        assert sender.post().status_code == 200
        wait_for(lambda step=step: step in arrived, 30, "the event")  # type: ignore[misc]
    listener.join()
    # The benchmark measures the 95th percentile on an idle machine; here, other tests use the processor too.
    assert median(arrived[step] - sent[step] for step in sent) <= 0.25


def test_a_token_that_is_revoked_midway_and_another_one(locked: Locked) -> None:
    tokens = Tokens(locked.server.settings.access)
    texts = {name: tokens.add(name, [Scope.LAUNCH]) for name in ("old", "new")}

    def sender(name: str) -> Sender:
        headers = {"authorization": f"Bearer {texts[name]}"}
        return Sender(httpx.Client(base_url=locked.server.url, headers=headers, timeout=30), "revoked")

    old, new = sender("old"), sender("new")
    assert old.register().status_code == 201
    old.start()
    assert old.post().status_code == 200
    tokens.revoke("old")
    old.metrics(0, loss=1.0)
    wait_for(lambda: old.post().status_code == 401)
    assert old.register().status_code == 401
    new.spool = old.spool
    assert new.register().json()["offset"] == old.offset
    assert new.post().json()["offset"] == len(new.spool)
    for one in (old, new):
        one.client.close()


def test_only_tokens_that_may_launch_can_log(locked: Locked) -> None:
    for name, status in (("read", 403), ("predict", 403), ("launch", 201)):
        with locked.client(name) as client:
            assert Sender(client, f"by-{name}").register().status_code == status
    with locked.client("read") as client:
        assert client.get("/api/scripts/by-launch").status_code == 200


def test_a_deleted_run_is_gone_for_its_client(followed: Server, client: httpx.Client) -> None:
    sender = Sender(client, "deleted")
    sender.register()
    sender.start()
    sender.end()
    sender.post()
    followed.wait_status("deleted", "finished")
    assert client.delete("/api/runs/deleted").status_code == 204
    sender.metrics(0, loss=1.0)
    answer = sender.post()
    assert (answer.status_code, answer.json()["error"]["code"]) == (404, "not_found")
    assert sender.register(resume="must").status_code == 404


def test_projects_are_filtered_over_http(client: httpx.Client) -> None:
    for run_id, project in (("p-one", "p & q"), ("p-two", "")):
        Sender(client, run_id).register(project=project)
    launched = client.post(
        "/api/runs", json={"dataset": "shapes100", "preset": "baseline-cnn", "project": "p & q", "priority": -50}
    )
    assert launched.json()["project"] == "p & q"
    client.post(f"/api/runs/{launched.json()['id']}/stop")
    found = client.get("/api/runs", params={"project": "p & q", "sort": "created_at"}).json()["items"]
    assert [run["id"] for run in found] == ["p-one", launched.json()["id"]]
    page = client.get("/", params={"project": "p & q"}, headers={"Accept": "text/html"}).text
    assert "p-one" in page
    assert "p-two" not in page
