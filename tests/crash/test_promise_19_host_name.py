"""Promise 19: a home whose host name changed, as that of a container made anew does, goes on with every run."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable

import pytest

from tests.conftest import ENDLESS, NARROW, Server, wait_for
from tests.crash.series import assert_whole

RENAMED = ["unshare", "--uts", "sh", "-c", 'hostname another-host && exec "$@"', "sh"]


@pytest.mark.timeout(180)
def test_promise_19_a_changed_host_name(make_server: Callable[..., Server]) -> None:
    try:
        if subprocess.run([*RENAMED, "true"], check=False, capture_output=True).returncode:
            pytest.skip("this user may not make a UTS namespace")
    except FileNotFoundError:
        pytest.skip("unshare is not installed")
    server = make_server(lease_seconds=2.0)
    server.start("web", "worker")
    run_id = server.launch(overrides={**NARROW, **ENDLESS, "checkpoint_minutes": 0.02})
    wait_for(lambda: list((server.settings.runs / run_id / "checkpoints").glob("*.json")), 60, "a checkpoint")
    trainer = server.trainer_pid(run_id)
    assert trainer is not None
    server.kill("worker")
    os.kill(trainer, signal.SIGKILL)
    step = server.run(run_id)["step"]

    server.processes["worker"] = subprocess.Popen(
        [*RENAMED, sys.executable, "-m", "app.cli", "worker", "--device", "cpu"],
        env={**os.environ, **server.environment()},
        start_new_session=True,
    )
    server.wait_step(run_id, step + 5, 90)
    run = server.stop_run(run_id)
    assert run["attempt"] == 2
    assert_whole(server.series(run_id), run["step"])
