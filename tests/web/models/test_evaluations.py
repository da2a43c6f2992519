"""Evaluations on other datasets: API, page and command line, by a real worker."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Any

import httpx
import numpy as np
import pytest

from tests.conftest import NARROW, Server, wait_for
from tests.databases import home_environment
from tests.web.errors import assert_error
from trainer.data.format import open_split, read_record
from trainer.data.writer import write_dataset


def finished(api: httpx.Client, task: dict[str, Any]) -> dict[str, Any]:
    def ended() -> dict[str, Any] | None:
        found: dict[str, Any] = api.get(f"/api/evaluations/{task['id']}").json()
        return found if found["task"]["status"] in ("finished", "failed") else None

    return wait_for(ended, 60)


@pytest.mark.timeout(240)
def test_a_model_is_evaluated_on_another_dataset(server: Server) -> None:
    shared = server.settings.datasets.resolve()
    server.settings.datasets.unlink()
    server.settings.datasets.mkdir()
    record = read_record(shared, "shapes100")
    (server.settings.datasets / "shapes100").symlink_to(shared / "shapes100")
    images, labels = open_split(shared, "shapes100", "test")
    rows = np.flatnonzero(labels < 50)[::5]
    arrays = {
        split: (np.array(images[rows]), labels[rows], [f"{row}.png" for row in rows]) for split in ("train", "test")
    }
    write_dataset(server.settings.datasets, "half", arrays=arrays, classes=record.classes[:50], source="t")  # type: ignore[arg-type]
    write_dataset(server.settings.datasets, "other", arrays=arrays, classes=[f"x{n}" for n in range(50)], source="t")  # type: ignore[arg-type]
    server.start("web", "worker", "predictor")
    run_id = server.launch(overrides={**NARROW, "max_steps": 60, "checks": "off"})
    server.wait_status(run_id, "finished", seconds=90)
    with server.client() as api:
        answer = api.post("/api/evaluations", json={"model": run_id, "dataset": "half"})
        assert answer.status_code == 202, answer.text
        found = finished(api, answer.json())
        evaluation = found["evaluation"]
        assert (evaluation["dataset"], evaluation["split"], evaluation["images"]) == ("half", "test", len(rows))
        assert evaluation["own_test"]["images"] == record.test_count
        assert isinstance(found["significantly_worse"], bool)
        low, high = found["accuracy_interval"]
        assert low <= evaluation["figures"]["acc"] <= high
        assert sum(count for _, _, count in found["confusion"]) == len(rows)
        assert {item["name"] for item in found["classes"]} == set(record.classes[:50])
        page = api.get(f"/evaluations/{found['task']['id']}").text
        assert "Classes, lowest recall first" in page
        assert f"<h1>{api.get(f'/api/runs/{run_id}').json()['name']} on half</h1>" in page
        assert f"/evaluations/{found['task']['id']}" in api.get(f"/models/{run_id}").text
        sent = api.post(
            "/evaluations", data={"model": run_id, "dataset": "half", "split": "train"}, follow_redirects=False
        )
        assert sent.status_code == 303
        again = finished(api, {"id": sent.headers["location"].rsplit("/", 1)[1]})
        assert again["evaluation"]["figures"]["acc"] == evaluation["figures"]["acc"]

        refused = api.post("/api/evaluations", json={"model": run_id, "dataset": "other"})
        assert_error(refused, 422)
        assert "other has classes that the model does not predict: x0, x1, x2, x3, x4 and 45 more." in refused.text
        assert_error(api.post("/api/evaluations", json={"model": run_id, "dataset": "half", "split": "val"}), 422)
        assert_error(api.post("/api/evaluations", json={"model": run_id, "dataset": "none"}), 404)
        assert_error(api.post("/api/evaluations", json={"model": "none", "dataset": "half"}), 404)
        assert_error(api.get("/api/evaluations/0000000000"), 404)

        api.delete("/api/datasets/half").raise_for_status()
        kept = api.get(f"/api/evaluations/{found['task']['id']}").json()
        assert (kept["evaluation"], kept["classes"]) == (evaluation, None)
        assert "was deleted or changed" in api.get(f"/evaluations/{found['task']['id']}").text

    command = [sys.executable, "-m", "app.cli", "evaluate", run_id, "shapes100", "--json"]
    env = {**os.environ, **home_environment(server.home)}
    told = subprocess.run(command, env=env, capture_output=True, text=True, check=True, timeout=120)
    figures = json.loads(told.stdout)["figures"]
    assert figures["acc"] == pytest.approx(server.run(run_id)["summary"]["test/acc"], abs=2e-3)
    refused_here = subprocess.run(
        [*command[:-2], "other"], env=env, capture_output=True, text=True, check=False, timeout=120
    )
    assert refused_here.returncode == 1
    assert "other has classes that the model does not predict" in refused_here.stderr
