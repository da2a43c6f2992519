"""A run whose directory is missing fails by itself; the device, its worker and all other runs go on."""

from __future__ import annotations

import shutil

import psutil
import pytest

from tests.conftest import ENDLESS, NARROW, Server, wait_for

SHORT = {**NARROW, "epochs": 1}


@pytest.mark.timeout(180)
def test_a_missing_directory_stops_nothing_else(server: Server) -> None:
    server.start("web", "worker")
    running = server.launch(overrides={**NARROW, **ENDLESS})
    waiting, good = server.launch(overrides=SHORT), server.launch(overrides=SHORT)
    server.wait_step(running, 5)
    trainer = server.trainer_pid(running)
    assert trainer is not None
    shutil.rmtree(server.settings.runs / waiting)
    with server.client() as client:
        answer = client.post("/api/runs/bulk", json={"ids": [waiting, "nowhere", good], "action": "star"})
        assert [item["done"] for item in answer.json()["results"]] == [False, False, True]
        assert client.post(f"/api/runs/{waiting}/stop").json()["error"]["code"] == "directory_missing"
    shutil.rmtree(server.settings.runs / running)
    for run_id in (running, waiting):
        assert server.wait_status(run_id, "failed")["error"]["code"] == "directory_missing"
    assert server.wait_status(good, "finished")["summary"]["test/acc"] > 0
    assert server.processes["worker"].poll() is None
    wait_for(lambda: not psutil.pid_exists(trainer), 60, "the end of the trainer without a directory")
    with server.client() as client:
        for run_id in (running, waiting):
            assert client.delete(f"/api/runs/{run_id}").status_code == 204
