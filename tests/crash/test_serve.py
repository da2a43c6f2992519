"""`trackside serve`: one instance per home, the error for a port in use, and a clean shutdown."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator

import orjson
import psutil
import pytest

from tests.conftest import ENDLESS, NARROW, Server, wait_for
from tests.databases import delete_database


def serve_command(server: Server, port: int) -> list[str]:
    return [sys.executable, "-m", "app.cli", "serve", "--port", str(port), "--workers", "1"]


def environment(server: Server) -> dict[str, str]:
    return {**os.environ, **server.environment()}


def start_serve(server: Server) -> subprocess.Popen[bytes]:
    """`trackside serve`, once it is ready."""
    command = serve_command(server, server.settings.port)
    process = subprocess.Popen(command, env=environment(server), start_new_session=True)
    server.wait_ready()
    return process


@pytest.fixture
def served(server: Server) -> Iterator[subprocess.Popen[bytes]]:
    """A ready `trackside serve` with one worker."""
    process = start_serve(server)
    yield process
    if process.poll() is None:
        process.terminate()
        process.wait(60)


@pytest.mark.timeout(180)
def test_sigterm_ends_all_of_it_and_the_run_goes_on_at_the_next_start(
    server: Server, served: subprocess.Popen[bytes]
) -> None:
    run_id = server.launch(overrides={**NARROW, "epochs": 4})
    server.wait_step(run_id, 5)
    children = psutil.Process(served.pid).children(recursive=True)
    assert len(children) >= 4
    served.send_signal(signal.SIGTERM)
    assert served.wait(60) == 0
    wait_for(lambda: not [child for child in children if child.is_running()], 10, "the end of every process")
    assert '"reason":"interrupted"' in (server.settings.runs / run_id / "events" / "1.jsonl").read_text()
    server.start("web", "worker")
    run = server.wait_status(run_id, "finished")
    assert run["attempt"] == 2


@pytest.mark.timeout(180)
def test_promise_18_sigkill_leaves_no_web_process_and_no_worker_and_the_next_serve_takes_over(
    server: Server, served: subprocess.Popen[bytes]
) -> None:
    run_id = server.launch(overrides={**NARROW, **ENDLESS})
    server.wait_step(run_id, 5)
    children = psutil.Process(served.pid).children(recursive=True)
    served.kill()
    served.wait(10)
    wait_for(lambda: not [child for child in children if child.is_running()], 60, "the end of every process")
    again = start_serve(server)
    try:
        step = server.run(run_id)["step"]
        server.wait_step(run_id, step + 5)
        assert server.run(run_id)["attempt"] == 2
        server.stop_run(run_id)
    finally:
        again.terminate()
        again.wait(60)


@pytest.mark.long
@pytest.mark.timeout(180)
def test_a_closed_terminal_changes_nothing_and_ctrl_c_ends_all_of_it(
    server: Server, served: subprocess.Popen[bytes]
) -> None:
    run_id = server.launch(overrides={**NARROW, **ENDLESS})
    server.wait_step(run_id, 5)
    os.killpg(served.pid, signal.SIGHUP)
    reached = last_step(server, run_id)
    wait_for(lambda: last_step(server, run_id) > reached, 30, "a step after it")
    server.wait_ready()
    assert server.run(run_id)["attempt"] == 1
    children = psutil.Process(served.pid).children(recursive=True)
    os.killpg(served.pid, signal.SIGINT)
    assert served.wait(60) == 0
    wait_for(lambda: not [child for child in children if child.is_running()], 10, "the end of every process")
    assert '"reason":"interrupted"' in (server.settings.runs / run_id / "events" / "1.jsonl").read_text()


def last_step(server: Server, run_id: str) -> int:
    """Return the last step in the event file of attempt 1; works while the web process is down."""
    lines = (server.settings.runs / run_id / "events" / "1.jsonl").read_bytes().splitlines()
    return max((event["step"] for event in map(orjson.loads, lines[:-1]) if event["e"] == "metrics"), default=0)


@pytest.mark.timeout(120)
def test_a_second_serve_on_the_same_home_is_refused_in_words(server: Server, served: subprocess.Popen[bytes]) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    second = subprocess.run(
        serve_command(server, port), env=environment(server), capture_output=True, text=True, check=False, timeout=60
    )
    assert second.returncode == 1
    assert "`trackside serve` is already running" in second.stderr


@pytest.mark.timeout(120)
def test_a_taken_port_is_named_and_another_proposed(server: Server) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        process = subprocess.run(
            serve_command(server, port),
            env=environment(server),
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
    assert process.returncode == 1
    assert f"Port {port}" in process.stderr
    assert "--port" in process.stderr


@pytest.mark.timeout(180)
def test_a_new_home_gets_the_built_in_dataset(server: Server) -> None:
    server.settings.datasets.unlink()
    delete_database(server.settings)
    process = start_serve(server)
    try:
        with server.client() as client:
            wait_for(lambda: client.get("/api/tasks").json()[0]["done"] > 0, 90, "progress of the import")
            assert client.get("/api/tasks").json()[0]["request"]["name"] == "shapes100"
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(60)
