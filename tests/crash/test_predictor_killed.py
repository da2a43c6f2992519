"""SIGKILL of the predictor under load: every request gets a prediction or a documented 503.

The other processes are not restarted.
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import httpx
import psutil
import pytest

from tests.app.predictor.predict_home import encode, make_dataset, make_run, random_image, serving_child
from tests.conftest import Server, wait_for

RUN = "de4d000000"
CLIENTS = 2
FORK_SECONDS = 5.0
START_SECONDS = 15.0  # the new process imports torch, which takes 3 s on an idle machine


@pytest.fixture
def served(server: Server) -> Iterator[psutil.Process]:
    (server.home / "datasets").unlink()  # the link to the shared datasets
    make_dataset(server.home)
    make_run(server.home, RUN)
    environment = {**os.environ, **server.environment()}
    subprocess.run([sys.executable, "-m", "app.cli", "reindex"], env=environment, check=True, capture_output=True)
    command = [sys.executable, "-m", "app.cli", "serve", "--port", str(server.settings.port), "--workers", "1"]
    process = subprocess.Popen(command, env=environment, start_new_session=True)
    server.wait_ready()
    yield psutil.Process(process.pid)
    process.terminate()
    process.wait(60)


def children(served: psutil.Process) -> dict[str, psutil.Process]:
    """Return the child processes by name, without those that have just exited."""
    found = {}
    for child in served.children():
        with suppress(psutil.Error):
            if words := child.cmdline():
                found["app.predictor" if "app.predictor" in words else words[3]] = child
    return found


@pytest.mark.timeout(120)
def test_a_predictor_killed_under_load_is_back_within_five_seconds(server: Server, served: psutil.Process) -> None:
    image, ended, seen = encode(random_image(1)), threading.Event(), Counter[int]()

    def ask(client: httpx.Client) -> httpx.Response:
        return client.post("/api/predict", params={"model": RUN}, files={"file": ("a.png", image)})

    def load() -> None:
        with server.client() as client:
            while not ended.is_set():
                answer = ask(client)
                seen[answer.status_code] += 1
                if answer.status_code != 200:
                    assert answer.status_code == 503, answer.text
                    assert answer.json()["error"]["code"].startswith("predictor_")
                    assert "Retry-After" in answer.headers

    with server.client() as client, ThreadPoolExecutor(CLIENTS) as pool:
        assert ask(client).status_code == 200
        others = {name: child for name, child in children(served).items() if name != "app.predictor"}
        loads = [pool.submit(load) for _ in range(CLIENTS)]
        try:
            parent = children(served)["app.predictor"]
            for victim, seconds in ((serving_child(parent.pid), FORK_SECONDS), (parent, START_SECONDS)):
                victim.kill()
                killed = time.monotonic()
                wait_for(lambda: ask(client).status_code == 200, 30, "the predictor")
                assert time.monotonic() - killed < seconds
            wait_for(lambda: "app.predictor" in children(served), 10, "a new predictor")
        finally:
            ended.set()
        for one in loads:
            one.result()
    assert seen[200] > 0
    assert {name: children(served)[name] for name in others} == others
