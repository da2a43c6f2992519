"""Promise 6: after random kills of all processes, each series equals that of an uninterrupted run."""

from __future__ import annotations

import os
import random
import signal
from collections.abc import Callable

import pytest

from tests.conftest import FIXED, NARROW, Server
from tests.crash.series import assert_whole, values

OVERRIDES = {
    **NARROW, **FIXED, "epochs": 5, "augment.flip": True, "augment.crop": 4, "model.dropout": 0.2, "log_every": 3
}  # fmt: skip


@pytest.mark.timeout(300)
def test_promise_06_series_equal_those_of_an_undisturbed_run(make_server: Callable[..., Server]) -> None:
    server = make_server(max_attempts=20)
    server.start("web", "worker")
    chance = random.Random(6)
    run_id = server.launch(overrides=OVERRIDES)
    for victim in ("trainer", "worker", "web", "trainer", "worker"):
        run = server.run(run_id)
        server.wait_step(run_id, min(run["step"] + chance.randint(10, 50), run["total_steps"] - 5))
        if victim == "trainer":
            pid = server.trainer_pid(run_id)
            assert pid is not None
            os.kill(pid, signal.SIGKILL)
        else:
            server.kill(victim)
            server.start(victim)
    killed = server.wait_status(run_id, "finished", seconds=120)
    reference = server.wait_status(server.launch(overrides=OVERRIDES), "finished", seconds=120)
    assert killed["attempt"] > 1
    assert_whole(server.series(run_id), killed["total_steps"])
    assert values(server.series(run_id)) == values(server.series(reference["id"]))
    assert killed["summary"] == reference["summary"]
