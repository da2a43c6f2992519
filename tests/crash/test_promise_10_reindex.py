"""Promise 10: the database can be deleted; `trackside reindex` rebuilds it from the home."""

from __future__ import annotations

import os
import subprocess
import sys
from datetime import datetime, timedelta

import pytest

from tests.conftest import ENDLESS, NARROW, Server
from tests.databases import delete_database

# Before, these are the times at which the worker read the events; after a reindex, the times of the events.
TIMES = ("started_at", "finished_at")
VOLATILE = {"seq", *TIMES}


@pytest.mark.timeout(180)
def test_promise_10_everything_is_back_after_a_reindex(server: Server) -> None:
    server.start("web", "worker")
    finished = server.launch(overrides={**NARROW, "max_steps": 60}, tags=["kept"], expectation="something")
    server.wait_status(finished, "finished")
    stopped = server.launch(overrides=ENDLESS)
    server.wait_step(stopped, 20)
    with server.client() as client:
        client.patch(f"/api/runs/{finished}", json={"notes": "a note", "starred": True})
        client.post(f"/api/runs/{stopped}/stop")
        server.wait_status(stopped, "stopped")
        server.stop("worker")
        queued = server.launch(name="waiting")
        ids = (finished, stopped, queued)
        before = {run_id: server.run(run_id) for run_id in ids}
        series = {run_id: server.series(run_id) for run_id in ids}
        checkpoints = {run_id: client.get(f"/api/runs/{run_id}/checkpoints").json() for run_id in ids}
    server.kill("web")
    delete_database(server.settings)
    command = [sys.executable, "-m", "app.cli", "reindex"]
    subprocess.run(command, env={**os.environ, **server.environment()}, check=True)
    server.start("web")
    for run_id in ids:
        after = server.run(run_id)
        assert {k: v for k, v in after.items() if k not in VOLATILE} == {
            k: v for k, v in before[run_id].items() if k not in VOLATILE
        }
        for name in TIMES:
            assert (after[name] is None) == (before[run_id][name] is None)
            if after[name] is not None:
                apart = datetime.fromisoformat(after[name]) - datetime.fromisoformat(before[run_id][name])
                assert abs(apart) < timedelta(seconds=60)
        assert server.series(run_id) == series[run_id]
        with server.client() as client:
            listed = client.get(f"/api/runs/{run_id}/checkpoints").json()
        assert [(c["step"], c["sha256"], c["best"]) for c in listed] == [
            (c["step"], c["sha256"], c["best"]) for c in checkpoints[run_id]
        ]
