"""Promises 4 and 5: a run outlives its worker and its web process."""

from __future__ import annotations

import pytest

from tests.conftest import ENDLESS, Server
from tests.crash.series import assert_whole


@pytest.mark.timeout(180)
def test_promise_04_a_killed_workers_successor_adopts_the_run(server: Server) -> None:
    server.start("web", "worker")
    run_id = server.launch(overrides=ENDLESS)
    server.wait_step(run_id, 5)
    trainer = server.trainer_pid(run_id)
    assert trainer is not None
    server.kill("worker")
    assert server.trainer_pid(run_id) == trainer
    server.start("worker")
    step = server.run(run_id)["step"]
    server.wait_step(run_id, step + 5)
    assert server.trainer_pid(run_id) == trainer
    run = server.stop_run(run_id)
    assert run["attempt"] == 1
    assert_whole(server.series(run_id), run["step"])


@pytest.mark.timeout(180)
def test_promise_05_restarting_the_web_process_does_not_touch_training(server: Server) -> None:
    server.start("web", "worker")
    run_id = server.launch(overrides=ENDLESS)
    server.wait_step(run_id, 5)
    trainer = server.trainer_pid(run_id)
    for time in range(20):
        server.kill("web")
        server.spawn("web")
        if time % 5 == 4:  # the other web processes are killed during startup
            server.wait_web()
    assert server.trainer_pid(run_id) == trainer
    run = server.stop_run(run_id)
    assert run["attempt"] == 1
    assert_whole(server.series(run_id), run["step"])
