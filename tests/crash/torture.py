"""`python -m tests.crash.torture`: repeatedly trains ten short runs and kills random processes (seeded) meanwhile.

Each run has an undisturbed reference run of the same spec. At the end, each run's series and summary must equal those
of its reference, each listed checkpoint must load, and no process may be left. Prints the number of killed processes
and of runs that differ.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
import psutil

from app.settings import Settings
from app.storage.db import Database
from app.supervisor import free_port
from tests.app.predictor.predict_home import encode, random_image
from tests.conftest import NARROW, TEST_PER_CLASS, TRAIN_PER_CLASS, Server, wait_for
from tests.crash.series import assert_whole, values
from trainer.data.sources.shapes import make_shapes100
from trainer.models import checkpoint
from trainer.rundir.checkpoints import list_checkpoints

RUNS = 10
PAUSE = (0.5, 6.0)
OVERRIDES = {**NARROW, "augment.flip": True, "augment.crop": 4, "model.dropout": 0.2, "log_every": 3}
VICTIMS = {"web": 2, "worker": 3, "trainer": 5, "predictor": 1}  # sampling weights


@contextmanager
def served(server: Server) -> Iterator[psutil.Process]:
    command = [sys.executable, "-m", "app.cli", "serve", "--port", str(server.settings.port), "--workers", "1"]
    with (server.home / "serve.log").open("ab") as log:
        environment = {**os.environ, **server.environment()}
        process = subprocess.Popen(command, env=environment, start_new_session=True, stdout=log, stderr=log)
    try:
        wait_for(lambda: answer(server, "/readyz") is not None, 120, "readyz")
        yield psutil.Process(process.pid)
    finally:
        process.terminate()
        process.wait(90)


def answer(server: Server, path: str) -> Any:
    """Return the JSON body of a GET, or None while the server does not respond or answers 503."""
    try:
        response = httpx.get(server.url + path, timeout=20)
    except httpx.TransportError:
        return None
    assert response.status_code in (200, 503), f"{path}: {response.status_code} {response.text}"
    return response.json() if response.status_code == 200 else None


def launch(server: Server, epochs: int) -> list[str]:
    overrides = [{**OVERRIDES, "epochs": epochs, "seed": seed} for seed in range(RUNS)]
    return [server.launch(overrides=one, name=f"seed {seed}") for seed, one in enumerate(overrides)]


def unfinished(server: Server, ids: list[str]) -> list[str] | None:
    """Return the ids of the runs that have not finished, or None while the server does not respond.

    Raises AssertionError: when a run has failed.
    """
    page = answer(server, f"/api/runs?limit={len(ids)}")
    if page is None:
        return None
    left = [run for run in page["items"] if run["id"] in ids and run["status"] != "finished"]
    for run in left:
        assert run["status"] != "failed", run["error"]
    return [run["id"] for run in left]


def wait_all(server: Server, ids: list[str], seconds: float) -> None:
    """Wait until all runs have finished. Polls once per second: on two cores, more would slow them down."""
    deadline, pause = time.monotonic() + seconds, threading.Event()
    while unfinished(server, ids) != []:
        assert time.monotonic() < deadline, "they do not end"
        pause.wait(1)


def victim(kind: str, serve: psutil.Process, server: Server, ids: list[str]) -> psutil.Process | None:
    if kind == "trainer":
        pids = (server.trainer_pid(run_id) for run_id in ids)
        pid = next((pid for pid in pids if pid is not None), None)
        return psutil.Process(pid) if pid is not None else None
    for child in serve.children():
        words = child.cmdline()
        if kind == "predictor" and "app.predictor" in words:
            return child
        if kind in words:
            return child
    return None


def kill_randomly(
    serve: psutil.Process, server: Server, ids: list[str], draw: random.Random, until: float
) -> Counter[str]:
    """Kill one random process after another until all runs have finished or the time is over; return the counts."""
    killed = Counter[str]()
    kinds, weights = list(VICTIMS), list(VICTIMS.values())
    while time.monotonic() < until:
        time.sleep(draw.uniform(*PAUSE))
        kind = draw.choices(kinds, weights)[0]
        with suppress(psutil.NoSuchProcess):
            found = victim(kind, serve, server, ids)
            if found is not None:
                found.send_signal(signal.SIGKILL)
                killed[kind] += 1
        left = unfinished(server, ids)
        if left is not None:
            print(f"{sum(killed.values())} killed, {len(ids) - len(left)} of {len(ids)} finished", flush=True)
            if not left:
                break
    return killed


def predict_meanwhile(server: Server, model: str, ended: threading.Event, seen: Counter[str]) -> None:
    files = {"file": ("a.png", encode(random_image(1)), "image/png")}
    while not ended.wait(0.2):
        try:
            response = httpx.post(f"{server.url}/api/predict", params={"model": model}, files=files, timeout=60)
        except httpx.TransportError:
            seen["nobody there"] += 1
        else:
            seen[str(response.status_code)] += 1


def compare(server: Server, ids: list[str], references: list[str]) -> int:
    """Return how many runs differ from their reference run in series or summary.

    Raises CheckpointDamaged: when a listed checkpoint does not load.
    """
    lost = 0
    for run_id, reference_id in zip(ids, references, strict=True):
        run, reference = server.run(run_id), server.run(reference_id)
        assert_whole(server.series(run_id), run["total_steps"])
        same = values(server.series(run_id)) == values(server.series(reference_id))
        same = same and run["summary"] == reference["summary"]
        lost += not same
        folder = server.settings.runs / run_id
        for info in list_checkpoints(folder):
            checkpoint.load(folder, info)
        print(f"{run['name']}: {run['attempt']} attempts, {'as' if same else 'NOT as'} its reference", flush=True)
    return lost


def belonging_to(home: Path) -> list[psutil.Process]:
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            if process.environ().get("TRACKSIDE_HOME") == str(home):
                found.append(process)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=20, help="of the whole")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--epochs", type=int, default=12, help="of each run")
    arguments = parser.parse_args()
    until = time.monotonic() + 60 * arguments.minutes
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        make_shapes100(home / "datasets", train_per_class=TRAIN_PER_CLASS, test_per_class=TEST_PER_CLASS)
        settings = Settings(home=home, port=free_port("127.0.0.1"), max_attempts=10_000, lease_seconds=5)
        database = Database(settings.url)
        database.migrate()
        database.close()
        server = Server(home, settings)
        with served(server) as serve:
            references = launch(server, arguments.epochs)
            wait_all(server, references, 60 * arguments.minutes)
            draw, ended, seen = random.Random(arguments.seed), threading.Event(), Counter[str]()
            killed, rounds, lost = Counter[str](), 0, 0
            asker = threading.Thread(target=predict_meanwhile, args=(server, references[0], ended, seen))
            asker.start()
            try:
                while time.monotonic() < until:
                    ids = launch(server, arguments.epochs)
                    killed += kill_randomly(serve, server, ids, draw, until)
                    wait_all(server, ids, 600)
                    lost += compare(server, ids, references)
                    rounds += 1
            finally:
                ended.set()
                asker.join()
        left = belonging_to(home)
        text = ", ".join(f"{count} × {kind}" for kind, count in sorted(killed.items()))
        runs = RUNS * rounds
        print(f"{sum(killed.values())} killed ({text}); {lost} of {runs} runs lost anything; {len(left)} left running")
        print(f"predictions meanwhile: {dict(seen)}")
        if lost or left or set(seen) - {"200", "503", "nobody there"}:
            sys.exit(1)


if __name__ == "__main__":
    main()
