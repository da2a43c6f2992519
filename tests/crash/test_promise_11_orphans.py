"""Promise 11: a trainer without a worker is adopted, or saves a checkpoint and exits after the orphan timeout."""

from __future__ import annotations

from collections.abc import Callable

import psutil
import pytest

from tests.conftest import ENDLESS, Server, wait_for
from tests.crash.series import assert_whole


@pytest.mark.timeout(180)
def test_promise_11_an_orphan_saves_ends_and_is_taken_up_again(make_server: Callable[..., Server]) -> None:
    server = make_server(orphan_seconds=3.0)
    server.start("web", "worker")
    run_id = server.launch(overrides=ENDLESS)
    server.wait_step(run_id, 5)
    trainer = server.trainer_pid(run_id)
    assert trainer is not None
    server.kill("worker")
    server.kill("web")
    wait_for(lambda: server.trainer_pid(run_id) is None, 30, "the orphan's end")
    wait_for(lambda: not is_running(trainer), 10, "the end of its process")
    last = (server.settings.runs / run_id / "events" / "1.jsonl").read_text().splitlines()[-1]
    assert '"reason":"orphaned"' in last

    server.start("web", "worker")
    wait_for(lambda: server.run(run_id)["attempt"] == 2, what="the second attempt")
    server.wait_step(run_id, server.run(run_id)["step"] + 5)
    run = server.stop_run(run_id)
    assert run["attempt"] == 2
    assert_whole(server.series(run_id), run["step"])


@pytest.mark.timeout(180)
def test_promise_11_sigterm_ends_the_trainer_with_a_checkpoint_and_the_run_waits(server: Server) -> None:
    server.spawn("web", "worker")  # a forked process does not show its environment
    server.wait_web()
    run_id = server.launch(overrides=ENDLESS)
    server.wait_step(run_id, 5)
    server.stop("worker")
    assert server.trainer_pid(run_id) is None
    run = server.run(run_id)
    assert run["status"] == "queued"
    assert run["step"] > 0
    with server.client() as client:
        assert client.get(f"/api/runs/{run_id}/checkpoints").json()[-1]["step"] == run["step"]
    left = [process for process in psutil.process_iter(["cmdline"]) if _belongs(process, server)]
    assert [process.info["cmdline"][2] for process in left] == ["app.cli"]  # only the web process


def is_running(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def _belongs(process: psutil.Process, server: Server) -> bool:
    try:
        return process.environ().get("TRACKSIDE_HOME") == str(server.home)
    except (psutil.NoSuchProcess, psutil.AccessDenied):
        return False
