"""`trackside search`: begun without a server, carried out by one, and shown."""

from __future__ import annotations

import os
import subprocess
import sys

from tests.conftest import Server

FAST = ["epochs=2", "batch_size=800", "model.widths=[6,8,8]", "checks=off", "compile=off"]


def trackside(server: Server, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "app.cli", "search", *words],
        env={**os.environ, **server.environment()},
        capture_output=True,
        text=True,
        timeout=110,
    )


def test_a_search_of_the_command_line(server: Server) -> None:
    settings = [word for item in FAST for word in ("--set", item)]
    begin = ["start", "--preset", "baseline-cnn", "--dataset", "shapes100", *settings, "--trials", "3"]
    refused = trackside(server, *begin, "--space", "optimizer.lr=0.1..500")
    assert refused.returncode == 1
    assert "space.optimizer.lr" in refused.stderr
    assert trackside(server, *begin, "--space", "optimizer.lr").returncode == 1
    began = trackside(server, *begin, "--space", "optimizer.lr=1e-3..0.1", "--space", "optimizer.name=sgd,adam")
    assert began.returncode == 0, began.stderr
    search = began.stdout.strip()
    server.start("web", "worker")
    watched = trackside(server, "watch", search)
    assert watched.returncode == 0, watched.stderr
    assert "finished: 3 trials" in watched.stdout + watched.stderr
    lines = trackside(server, "show", search).stdout.splitlines()
    assert len(lines) == 4
    assert "optimizer.name=" in lines[1]
    assert search in trackside(server, "list").stdout
    assert "no search" in trackside(server, "show", "nonesuch").stderr
