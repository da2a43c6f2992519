"""A stop kills a trainer that hangs and does not react; its checkpoints are kept and the run can be resumed."""

from __future__ import annotations

import os
import signal

import psutil
import pytest

from tests.conftest import ENDLESS, NARROW, Server, wait_for
from tests.crash.series import assert_whole

STOP_SECONDS = "1.5"


@pytest.mark.timeout(180)
def test_a_stop_ends_a_trainer_that_hangs_and_the_run_can_go_on(server: Server) -> None:
    server.start("web", "worker", TRACKSIDE_STOP_SECONDS=STOP_SECONDS)
    run_id = server.launch(overrides={**NARROW, **ENDLESS})
    with server.client() as client:
        wait_for(lambda: client.get(f"/api/runs/{run_id}/checkpoints").json(), 60, "a checkpoint")
        trainer = server.trainer_pid(run_id)
        assert trainer is not None
        os.kill(trainer, signal.SIGSTOP)  # like a trainer blocked on a disk that does not respond
        waits = server.launch(overrides={**NARROW, "max_steps": 5})
        assert client.post(f"/api/runs/{run_id}/stop").status_code == 202
        run = server.wait_status(run_id, "stopped", seconds=30)
        wait_for(lambda: not psutil.pid_exists(trainer), 10, "its end")
        assert_whole(server.series(run_id), run["step"])
        server.wait_status(waits, "finished")

        client.post(f"/api/runs/{run_id}/resume").raise_for_status()
        server.wait_step(run_id, run["step"] + 5)
        client.post(f"/api/runs/{run_id}/stop").raise_for_status()
    ended = server.wait_status(run_id, "stopped")
    assert ended["attempt"] == 2
    assert_whole(server.series(run_id), ended["step"])
