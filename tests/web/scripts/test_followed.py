"""What a script sends is shown: from its events to its rows, its page and the live feed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.conftest import Server, new_server, wait_for
from tests.web.scripts.sender import Sender


@pytest.fixture(scope="module")
def followed(tmp_path_factory: pytest.TempPathFactory, shapes: Path) -> Iterator[Server]:
    """A web process and a worker, to which a script is silent after a second."""
    server = new_server(tmp_path_factory.mktemp("followed") / "home", shapes, silent_seconds=1)
    server.start("web", "worker")
    yield server
    server.close()


@pytest.fixture
def client(followed: Server) -> Iterator[httpx.Client]:
    with followed.client() as client:
        yield client


def test_a_run_is_listed_and_its_curves_are_drawn(followed: Server, client: httpx.Client) -> None:
    sender = Sender(client, "first-run")
    created = sender.register(name="a script", project="p1", config={"lr": 0.1, "model": {"width": 3}})
    assert created.status_code == 201, created.text
    assert created.json() == {
        "id": "first-run", "name": "a script", "url": "/runs/first-run", "attempt": 1, "offset": 0, "last_step": -1,
        "stop": False,
    }  # fmt: skip
    sender.start()
    for step in range(5):
        sender.metrics(step, train__loss=1 / (1 + step))
    assert sender.post().json() == {"offset": len(sender.spool), "stop": False}
    wait_for(lambda: followed.run("first-run")["step"] == 4)
    listed = client.get("/api/runs").json()["items"]
    assert [(run["id"], run["source"], run["project"], run["status"]) for run in listed] == [
        ("first-run", "script", "p1", "running")
    ]
    assert followed.series("first-run", "train/loss")["train/loss"]["value"] == [1, 0.5, 1 / 3, 0.25, 0.2]
    for tab in ("curves", "log", "setup", "media"):
        page = client.get(f"/runs/first-run?tab={tab}", headers={"Accept": "text/html"})
        assert page.status_code == 200, page.text
    assert client.get("/").status_code == 200
    sender.end()
    assert sender.post().status_code == 200
    assert followed.wait_status("first-run", "finished")["error"] is None


def test_a_script_that_is_not_heard_is_silent(followed: Server, client: httpx.Client) -> None:
    sender = Sender(client, "quiet")
    sender.register()
    sender.start()
    assert sender.post().status_code == 200
    wait_for(lambda: followed.run("quiet")["phase"] == "silent")
    # Heard again and again: a single time lasts a second here, which a busy machine may miss.
    wait_for(lambda: sender.post().status_code == 200 and followed.run("quiet")["phase"] is None)
    wait_for(lambda: followed.run("quiet")["phase"] == "silent")
    assert client.post("/api/runs/quiet/stop").json()["status"] == "stopped"
    sender.metrics(0, loss=1.0)
    assert sender.post().json()["stop"] is True
    sender.end("stopped")
    assert sender.post().status_code == 200
    wait_for(lambda: (followed.run("quiet")["status"], followed.run("quiet")["step"]) == ("stopped", 0))
    assert followed.wait_status("quiet", "stopped")["phase"] is None
