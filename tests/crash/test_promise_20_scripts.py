"""Promise 20: a value that a script logged is neither lost nor doubled, whatever is killed at the server.

The sender of the test keeps what it logs, as the client's spool does, and sends it by byte offsets until the server has
confirmed its end.
"""

from __future__ import annotations

import random
import signal
import threading
from collections.abc import Callable

import httpx
import pytest

from tests.conftest import Server, wait_for
from tests.web.scripts.sender import Sender

STEPS = 1500
PER_POST = 12


def patiently(send: Callable[[], httpx.Response], restart: Callable[[], None]) -> httpx.Response:
    """Send until the server answers; what it has killed is started again meanwhile."""

    def answered() -> httpx.Response | None:
        try:
            answer = send()
        except httpx.TransportError:
            restart()
            return None
        if answer.status_code in (429, 503):
            return None
        return answer

    return wait_for(answered, 60, "an answer")


@pytest.mark.timeout(300)
def test_promise_20_no_value_is_lost_or_doubled(make_server: Callable[..., Server]) -> None:
    server = make_server(lease_seconds=3)
    server.start("web")
    server.spawn("worker")  # not a warm one: those cannot be killed while they start
    chance = random.Random(20)

    def restart() -> None:
        if "web" not in server.processes:
            server.start("web")

    with server.client() as client:
        sender = Sender(client, "killed")
        patiently(lambda: sender.register(config={"lr": 0.1}), restart)
        sender.start()
        values: dict[str, list[tuple[int, float]]] = {"train/loss": [], "val/loss": []}
        lines: list[str] = []
        kills = sorted(chance.sample(range(STEPS // PER_POST), 10))
        for turn in range(STEPS // PER_POST):
            for step in range(turn * PER_POST, (turn + 1) * PER_POST):
                log_step(sender, step, chance, values, lines)
            if turn in kills:
                victim = chance.choice(("web", "worker"))
                server.kill(victim)
                if victim == "worker" and chance.random() < 0.7:
                    server.spawn("worker")
            # Answers may have been lost: what the server has is asked for, or told in its answer to a gap.
            if chance.random() < 0.2:
                patiently(sender.register, restart)
            patiently(sender.post, restart)
        sender.end()
        patiently(sender.post, restart)
        assert sender.offset == len(sender.spool)
        if "worker" not in server.processes:
            server.spawn("worker")
        run = server.wait_status("killed", "finished")
        found = server.series("killed")
        assert {name: list(zip(s["step"], s["value"], strict=True)) for name, s in found.items()} == values
        log = client.get("/api/runs/killed/log.txt").text.splitlines()
        assert [line.partition(" ")[2] for line in log] == lines
        assert run["step"] == turn * PER_POST + PER_POST - 1
    assert (server.settings.runs / "killed" / "events" / "1.jsonl").read_bytes() == sender.spool


def log_step(
    sender: Sender, step: int, chance: random.Random, values: dict[str, list[tuple[int, float]]], lines: list[str]
) -> None:
    sender.metrics(step, train__loss=(loss := chance.random()))
    values["train/loss"].append((step, loss))
    if step % 50 == 0:
        sender.metrics(step, val__loss=(loss := chance.random()))
        values["val/loss"].append((step, loss))
        sender.log("log", line=f"validated at {step}")
        lines.append(f"validated at {step}")


@pytest.mark.timeout(300)
def test_sessions_are_kept_when_the_server_dies_between_its_writes(make_server: Callable[..., Server]) -> None:
    """A registration that is not answered is repeated: there is one run, and one attempt for each session."""
    server = make_server()
    server.start("web")
    chance = random.Random(3)
    timers = []

    def restart() -> None:
        if server.processes["web"].poll() is not None:
            server.start("web")

    with server.client() as client:
        for number in range(12):
            sender = Sender(client, f"run-{number % 4}", f"{number:08x}")
            process = server.processes["web"]
            if number % 2:  # at a random moment of the few milliseconds that a registration takes
                timers.append(threading.Timer(0.03 * chance.random(), process.send_signal, [signal.SIGKILL]))
                timers[-1].start()
            patiently(sender.register, restart)
        for timer in timers:
            timer.join()
        runs = patiently(lambda: client.get("/api/runs"), restart).json()["items"]
    assert {run["id"]: run["attempt"] for run in runs} == {f"run-{number}": 3 for number in range(4)}
    assert sorted(path.name for path in server.settings.runs.glob("[!.]*")) == sorted(run["id"] for run in runs)
