"""Adding a dataset over HTTP: a task that the worker executes like a run."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from PIL import Image

from tests.conftest import Server, wait_for


def picture(shade: int) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (40, 36), (shade, 255 - shade, 90)).save(buffer, "PNG")
    return buffer.getvalue()


def bird_files() -> dict[str, bytes]:
    return {
        f"{kind}/{index}.png": picture(20 * index + shade)
        for shade, kind in enumerate(("owl", "wren"))
        for index in range(10)
    }


def zip_of(files: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return buffer.getvalue()


def wait_end(client: httpx.Client, task_id: str) -> dict[str, Any]:
    def ended() -> dict[str, Any] | None:
        task: dict[str, Any] = client.get(f"/api/tasks/{task_id}").json()
        return task if task["status"] in ("finished", "failed") else None

    found = wait_for(ended, 90, "the task's end")
    assert found is not None
    return found


@pytest.mark.timeout(180)
def test_zips_and_paths_become_data_sets(server: Server, tmp_path: Path) -> None:
    datasets = tmp_path / "own"
    datasets.mkdir()
    (server.home / "datasets").unlink()
    datasets.rename(server.home / "datasets")
    server.start("web", "worker")
    folder = tmp_path / "folder"
    for name, data in bird_files().items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    with server.client() as client:
        form = {"name": "birds", "size": "32"}
        answer = client.post("/api/datasets", files={"file": ("birds.zip", zip_of(bird_files()))}, data=form)
        assert answer.status_code == 202, answer.text
        task = wait_end(client, answer.json()["id"])
        assert task["status"] == "finished", task["error"]
        assert task["result"]["dataset"] == "birds"
        record = client.get("/api/datasets/birds").json()
        assert record["classes"] == ["owl", "wren"]
        assert record["size"] == 32
        assert record["train_count"] + record["test_count"] == 20
        assert client.get("/api/datasets/birds/images/train/0.png").headers["content-type"] == "image/png"

        answer = client.post("/api/datasets", json={"name": "birds", "source": str(folder), "size": 64})
        assert wait_end(client, answer.json()["id"])["result"]["dataset"] == "birds@2"

        run = server.launch(dataset="birds", overrides={"max_steps": 3})
        assert server.wait_status(run, "finished")["summary"]["test/acc"] >= 0


@pytest.mark.timeout(240)
def test_a_worker_that_is_stopped_does_not_count_as_the_death_of_its_task(
    make_server: Callable[..., Server], tmp_path: Path
) -> None:
    server = make_server(max_attempts=1)
    (server.home / "datasets").unlink()
    server.start("web")
    with server.client() as client:
        answer = client.post("/api/datasets", json={"name": "shapes", "source": "shapes100"})
        assert answer.status_code == 202, answer.text
        path = f"/api/tasks/{answer.json()['id']}"
        for _ in range(2):
            server.start("worker")
            wait_for(lambda: client.get(path).json()["done"] > 0, 90, "progress")
            server.stop("worker")
            assert client.get(path).json()["status"] == "queued"
        server.start("worker")
        assert wait_end(client, answer.json()["id"])["status"] == "finished"
