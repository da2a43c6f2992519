"""Promise 2: at most one claim writes to a run."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable

import pytest

from tests.conftest import ENDLESS, Server, wait_for
from tests.crash.series import assert_whole
from tests.databases import may_write


def suspend_between_writes(server: Server, pid: int) -> None:
    """Stop a process while it holds no lock of the database: the other writers would wait for its return."""

    def suspended() -> bool:
        os.kill(pid, signal.SIGSTOP)
        if not may_write(server.settings):
            os.kill(pid, signal.SIGCONT)
            return False
        return True

    wait_for(suspended, 30, "a moment without a write")


@pytest.mark.timeout(180)
def test_promise_02_a_worker_that_slept_past_its_lease_lets_go(make_server: Callable[..., Server]) -> None:
    server = make_server(lease_seconds=2.0)
    server.start("web", "worker")
    run_id = server.launch(overrides=ENDLESS)
    server.wait_step(run_id, 5)
    trainer = server.trainer_pid(run_id)
    sleeper = server.processes.pop("worker")
    suspend_between_writes(server, sleeper.pid)
    try:
        server.start("worker")
        step = server.run(run_id)["step"]
        server.wait_step(run_id, step + 10)
    finally:
        os.kill(sleeper.pid, signal.SIGCONT)
    assert server.trainer_pid(run_id) == trainer

    with server.client() as client:
        wait_for(
            lambda: [w["run"] for w in client.get("/api/workers").json() if w["pid"] == sleeper.pid] == [None],
            30,
            "the old worker letting go",
        )
        client.post(f"/api/runs/{run_id}/stop")
    run = server.wait_status(run_id, "stopped")
    assert run["attempt"] == 1
    assert_whole(server.series(run_id), run["step"])
    sleeper.send_signal(signal.SIGTERM)
    sleeper.wait(30)
