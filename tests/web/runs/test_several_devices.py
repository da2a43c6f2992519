"""Runs on several devices in the API and on the pages: what is refused, what a run waits for, and what it uses."""

from __future__ import annotations

import json
import os
from typing import Any

import httpx
import pytest

from app.host.identity import host_name, worker_id
from app.jobs.claims import claim_next
from app.jobs.kinds import RUN
from app.storage.db import Database
from app.storage.tables import Worker
from tests.conftest import Server

LAUNCH = {"dataset": "shapes100", "preset": "baseline-cnn"}


@pytest.mark.parametrize(
    ("overrides", "field"),
    [
        ({"devices": 3}, "batch_size"),
        ({"devices": 0}, "devices"),
        ({"devices": 65, "batch_size": 130}, "devices"),
        ({"devices": 32, "batch_size": 32}, "devices"),
        ({"devices": 8, "gradient_accumulation": 8}, "gradient_accumulation"),
        (
            {"devices": 2, "model.name": "torchvision:resnet18", "model.freeze": True, "model.widths": []},
            "model.freeze",
        ),
    ],
)
def test_what_several_devices_cannot_train_is_refused(api: httpx.Client, overrides: dict[str, Any], field: str) -> None:
    answer = api.post("/api/runs", json={**LAUNCH, "overrides": overrides})
    assert answer.status_code == 422
    assert f"overrides.{field}" in {item["field"] for item in answer.json()["error"]["detail"]}


def test_pages_say_what_a_run_waits_for_and_uses(web: Server, api: httpx.Client) -> None:
    run = api.post("/api/runs", json={**LAUNCH, "overrides": {"devices": 4}, "name": "of four"}).raise_for_status()
    asked = {**LAUNCH, "overrides": json.dumps({"devices": 4})}
    lacks = "needs 4 devices of one machine or of nodes, 0 are there"
    assert api.get("/api/preview", params=asked).json()["lacking"] == lacks
    assert f"the run {lacks}." in api.get(f"/runs/{run.json()['id']}").text
    page = api.get("/").text
    assert "needs 4 devices</span>" in page
    assert f'title="{lacks}"' in page

    database = Database(web.settings.url)
    names = [f"cpu:{number}" for number in range(4)]
    with database.write() as session:
        for name in names:
            row = Worker(id=worker_id(name), host=host_name(), pid=os.getpid(), device=name, ready=True)
            session.add(row)
    api.post("/api/runs", json={**LAUNCH, "overrides": {"devices": 8}, "name": "of eight"}).raise_for_status()
    lanes = api.get("/lanes").text
    assert "of four" in lanes  # comes next
    assert "of eight" not in lanes  # cannot start on this machine
    assert "Waiting in the queue for 4 free devices." in api.get(f"/runs/{run.json()['id']}").text
    with database.write() as session:
        job = claim_next(session, RUN, worker_id("cpu:2"), "cpu:2", 60)
    assert job is not None
    assert job.id == run.json()["id"]
    found = api.get(f"/api/runs/{job.id}").json()
    assert [found["device"], *found["other_devices"]] == ["cpu:2", "cpu:0", "cpu:1", "cpu:3"]
    assert "cpu:2 + cpu:0 + cpu:1 + cpu:3" in api.get(f"/runs/{job.id}").text
    assert {worker["device"]: worker["run"] for worker in api.get("/api/system").json()["workers"]} == dict.fromkeys(
        names, job.id
    )
    with database.write() as session:
        none = claim_next(session, RUN, worker_id("cpu:0"), "cpu:0", 60)
    assert none is None
    database.close()
