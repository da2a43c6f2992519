"""Promise 3: the run of a dead trainer is resumed automatically, at most N times, and then fails with the cause."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable

import orjson
import psutil
import pytest

from tests.conftest import ENDLESS, NARROW, Server, wait_for
from tests.crash.series import assert_whole


def kill_trainer(server: Server, run_id: str) -> int:
    pid = wait_for(lambda: server.trainer_pid(run_id), 60, "a trainer")
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    wait_for(lambda: server.trainer_pid(run_id) != pid, 10, "its end")
    return pid


@pytest.mark.timeout(180)
def test_promise_03_a_killed_trainers_run_goes_on_from_its_checkpoint(server: Server) -> None:
    server.start("web", "worker")
    run_id = server.launch(overrides={**NARROW, "epochs": 4})
    with server.client() as client:
        wait_for(lambda: client.get(f"/api/runs/{run_id}/checkpoints").json(), 60, "a checkpoint")
    kill_trainer(server, run_id)
    run = server.wait_status(run_id, "finished")
    assert run["attempt"] == 2
    start = orjson.loads((server.settings.runs / run_id / "events" / "2.jsonl").read_bytes().splitlines()[0])
    assert start["from_step"] in (56, 112, 168)  # the end of an epoch; which one depends on timing
    assert_whole(server.series(run_id), run["total_steps"])


@pytest.mark.timeout(180)
def test_promise_03_a_run_that_kills_every_trainer_fails_in_plain_words(make_server: Callable[..., Server]) -> None:
    server = make_server(max_attempts=3)
    server.start("web", "worker")
    run_id = server.launch(overrides=ENDLESS)
    for _ in range(3):
        kill_trainer(server, run_id)
    run = server.wait_status(run_id, "failed")
    assert run["error"]["code"] == "trainer_died"
    assert "died 3 times" in run["error"]["message"]
    assert run["attempt"] == 3


@pytest.mark.timeout(180)
def test_a_killed_fork_server_does_not_bury_its_trainers(server: Server) -> None:
    server.start("web", "worker")
    run_id = server.launch(overrides={**NARROW, "epochs": 3})
    server.wait_step(run_id, 5)
    trainer = server.trainer_pid(run_id)
    os.kill(psutil.Process(trainer).ppid(), signal.SIGKILL)
    run = server.wait_status(run_id, "finished")
    assert run["attempt"] == 1
    other = server.launch(overrides={**NARROW, "max_steps": 20})
    assert server.wait_status(other, "finished")["step"] == 20
