"""Adding a dataset over HTTP: a task that the worker executes like a run."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
from PIL import Image

from tests.conftest import NARROW, Server, wait_for
from tests.databases import delete_database
from trainer.rundir.lock import lock_holder


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
        return task if task["status"] in ("finished", "failed", "stopped") else None

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

        run = server.launch(dataset="birds", overrides={**NARROW, "max_steps": 3})
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
        wait_for(lambda: client.get(path).json()["done"] > 0, 90, "progress of the third attempt")


def own_datasets(server: Server) -> Path:
    """Replace the link to the shared datasets by an empty folder."""
    server.settings.datasets.unlink()
    server.settings.datasets.mkdir()
    return server.settings.datasets


def add_shapes(client: httpx.Client, name: str) -> str:
    answer = client.post("/api/datasets", json={"name": name, "source": "shapes100"})
    assert answer.status_code == 202, answer.text
    return str(answer.json()["id"])


def wait_progress(client: httpx.Client, task_id: str) -> None:
    wait_for(lambda: client.get(f"/api/tasks/{task_id}").json()["done"] > 0, 90, "progress")


@pytest.mark.timeout(180)
def test_a_cancelled_import_deletes_what_it_has_written(server: Server) -> None:
    datasets = own_datasets(server)
    server.start("web", "worker")
    with server.client() as client:
        task = add_shapes(client, "unwanted")
        wait_progress(client, task)
        assert list(datasets.glob(".tmp-*"))
        answer = client.post(f"/api/tasks/{task}/cancel")
        assert (answer.status_code, answer.json()["status"]) == (202, "stopping")
        assert wait_end(client, task)["status"] == "stopped"
        assert list(datasets.iterdir()) == []
        assert b'"interrupted"' in (server.settings.tasks / task / "events" / "1.jsonl").read_bytes()
        assert client.delete(f"/api/tasks/{task}").status_code == 204
        assert list(server.settings.tasks.iterdir()) == []


@pytest.mark.timeout(180)
def test_a_hanging_import_is_cancelled_and_the_next_one_starts(server: Server, tmp_path: Path) -> None:
    datasets = own_datasets(server)
    server.start("web", "worker", TRACKSIDE_STOP_SECONDS="1.5")
    folder = tmp_path / "folder"
    for name, data in bird_files().items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    with server.client() as client:
        task = add_shapes(client, "unwanted")
        wait_progress(client, task)
        trainer = lock_holder(server.settings.tasks / task)
        assert trainer
        os.kill(trainer, signal.SIGSTOP)  # it reacts to SIGKILL alone, as on a disk that does not respond
        later = client.post("/api/datasets", json={"name": "birds", "source": str(folder), "size": 32}).json()["id"]
        assert client.delete(f"/api/tasks/{task}").status_code == 409
        assert client.post(f"/api/tasks/{task}/cancel").status_code == 202
        assert wait_end(client, task)["status"] == "stopped"
        wait_for(lambda: not psutil.pid_exists(trainer), 10, "the end of its process")
        assert wait_end(client, later)["status"] == "finished"
        assert [path.name for path in datasets.iterdir()] == ["birds"]


@pytest.mark.timeout(180)
def test_a_cancelled_import_never_starts_again(server: Server) -> None:
    """Worker, web process and database are lost while its process has not ended yet."""
    own_datasets(server)
    server.start("web", "worker", TRACKSIDE_STOP_SECONDS="1.5")
    with server.client() as client:
        task = add_shapes(client, "unwanted")
        wait_progress(client, task)
        trainer = lock_holder(server.settings.tasks / task)
        assert trainer
        os.kill(trainer, signal.SIGSTOP)
        assert client.post(f"/api/tasks/{task}/cancel").status_code == 202
    server.kill("web")
    server.kill("worker")
    server.start("web", "worker", TRACKSIDE_STOP_SECONDS="1.5")
    with server.client() as client:
        assert wait_end(client, task)["status"] == "stopped"
    server.kill("web")
    server.kill("worker")
    delete_database(server.settings)
    command = [sys.executable, "-m", "app.cli", "reindex"]
    subprocess.run(command, env={**os.environ, **server.environment()}, check=True)
    server.start("web", "worker")
    with server.client() as client:
        assert client.get(f"/api/tasks/{task}").json()["status"] == "stopped"
    assert not psutil.pid_exists(trainer)
