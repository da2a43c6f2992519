"""A run on several devices through real workers: watched, stopped, killed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import psutil
import pytest

from tests.conftest import FIXED, NARROW, Server
from tests.crash.series import assert_whole

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
