"""A run on several devices through real workers: watched, stopped, killed."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from typing import Any

import psutil
import pytest

from tests.conftest import ENDLESS, FIXED, NARROW, Server, wait_for
from tests.crash.series import assert_whole, values

GANG: dict[str, Any] = {**NARROW, **FIXED, "devices": 2, "epochs": 1}


class Gang(Server):
    """A server with two workers on this processor."""

    @property
    def commands(self) -> dict[str, list[str]]:
        return {
            **super().commands,
            "cpu:0": ["worker", "--device", "cpu:0"],
            "cpu:1": ["worker", "--device", "cpu:1"],
        }


@pytest.fixture
def gang(make_server: Callable[..., Server]) -> Server:
    made = make_server()
    made.__class__ = Gang
    made.start("web", "cpu:0", "cpu:1")
    return made


def trainers_of(server: Server, run_id: str) -> list[psutil.Process]:
    """The processes of a run's ranks, the first one first."""
    pid = server.trainer_pid(run_id)
    if pid is None:
        return []
    first = psutil.Process(pid)
    return [first, *first.children()]


def test_a_run_trains_on_two_devices_at_once(gang: Server) -> None:
    run = gang.launch(overrides=GANG)
    ended = gang.wait_status(run, "finished")
    assert {ended["device"], *ended["other_devices"]} == {"cpu:0", "cpu:1"}
    assert_whole(gang.series(run), ended["total_steps"])


def wait_ended(processes: list[psutil.Process]) -> None:
    wait_for(lambda: not any(process.is_running() for process in processes), 30, "the end of all ranks")


@pytest.mark.timeout(240)
@pytest.mark.parametrize("killed", [0, 1])
def test_a_killed_ranks_run_goes_on_as_a_whole(gang: Server, killed: int) -> None:
    run, twin = (gang.launch(overrides={**GANG, "epochs": 3}) for _ in range(2))
    wait_for(lambda: gang.run(run)["best_step"], 60, "a checkpoint")
    ranks = trainers_of(gang, run)
    assert len(ranks) == 2
    ranks[killed].kill()
    wait_ended(ranks)
    ended = gang.wait_status(run, "finished")
    assert ended["attempt"] == 2
    assert_whole(gang.series(run), ended["total_steps"])
    gang.wait_status(twin, "finished")
    assert values(gang.series(run)) == values(gang.series(twin))


@pytest.mark.timeout(180)
def test_a_stop_and_dead_workers_leave_no_rank_behind(gang: Server) -> None:
    run = gang.launch(overrides={**ENDLESS, **GANG, "epochs": 400})
    gang.wait_step(run, 5)
    chief = gang.run(run)["device"]
    other = next(device for device in ("cpu:0", "cpu:1") if device != chief)
    ranks = trainers_of(gang, run)
    waiting = gang.launch(overrides={**NARROW, "max_steps": 5})
    for device in (chief, other):  # the run goes on, and its devices stay taken
        gang.kill(device)
        gang.start(device)
    step = gang.run(run)["step"]
    gang.wait_step(run, step + 20)
    assert trainers_of(gang, run) == ranks
    assert gang.run(waiting)["status"] == "queued"
    gang.stop_run(run)
    wait_ended(ranks)
    gang.wait_status(waiting, "finished")
    with gang.client() as client:
        assert client.post(f"/api/runs/{run}/resume", json={}).status_code in (200, 202)
    gang.wait_step(run, step + 30)
    ranks = trainers_of(gang, run)
    os.kill(ranks[0].ppid(), signal.SIGKILL)  # the fork server
    os.kill(ranks[0].pid, signal.SIGSTOP)  # and rank 0 does not react
    gang.kill(gang.run(run)["device"])
    os.kill(ranks[0].pid, signal.SIGKILL)
    wait_ended(ranks)
