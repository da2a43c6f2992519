"""`python -m tests.crash.torture`: trains ten short runs again and again, kills processes and damages files meanwhile.

Processes are killed by SIGKILL, `serve` among them, which is restarted, at times under another host name. Folders of
finished runs are removed, lines of journals spoiled, and the disk of temporary files is full at times
(tests/crash/damage.py). The draws are seeded. Each run has an undisturbed reference run of the same spec. At the end,
each run's series and summary must equal those of its reference, each listed checkpoint must load, and no process may be
left. Prints the number of killed processes and of runs that differ.
"""

from __future__ import annotations

import argparse
import random
import signal
import sys
import tempfile
import threading
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import psutil

from app.settings import Settings
from app.storage.db import Database
from app.supervisor import free_port
from tests.app.predictor.predict_home import encode, random_image
from tests.conftest import FIXED, NARROW, TEST_PER_CLASS, TRAIN_PER_CLASS, Server
from tests.crash.damage import (
    RENAMED,
    Serve,
    Spares,
    answer,
    fill_tmp,
    may,
    remove_run_folder,
    small_disk,
    spoil_journal,
)
from tests.crash.series import assert_whole, values
from trainer.data.sources.shapes import make_shapes100
from trainer.models import checkpoint
from trainer.rundir.checkpoints import list_checkpoints

PAUSE = (0.5, 6.0)
OVERRIDES = {
    **NARROW, **FIXED, "checks": "quick", "augment.flip": True, "augment.crop": 4, "model.dropout": 0.2, "log_every": 3
}  # fmt: skip
SPARES = 3  # per round: runs whose folders are removed
# Sampling weights.
VICTIMS = {
    "web": 2,
    "worker": 3,
    "trainer": 5,
    "predictor": 1,
    "serve": 1,
    "host name": 1,
    "run folder": 1,
    "journal": 2,
    "full tmp": 1,
}


def launch(server: Server, epochs: int, runs: int) -> list[str]:
    overrides = [{**OVERRIDES, "epochs": epochs, "seed": seed} for seed in range(runs)]
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


@dataclass
class Torture:
    serve: Serve
    draw: random.Random
    spares: Spares = field(default_factory=Spares)
    done: Counter[str] = field(default_factory=Counter)
    kinds: dict[str, int] = field(default_factory=lambda: dict(VICTIMS))

    @property
    def server(self) -> Server:
        return self.serve.server

    def launch_spares(self) -> None:
        overrides = {**OVERRIDES, "max_steps": 5, "checks": "off"}
        fresh = [self.server.launch(overrides=overrides, name="spare") for _ in range(SPARES)]
        wait_all(self.server, fresh, 300)
        self.spares.left += fresh

    def until_finished(self, ids: list[str], until: float) -> None:
        """Do one random thing after another until all runs have finished or the time is over."""
        while time.monotonic() < until:
            time.sleep(self.draw.uniform(*PAUSE))
            kind = self.draw.choices(list(self.kinds), list(self.kinds.values()))[0]
            with suppress(psutil.NoSuchProcess):
                self.done[kind] += self.do(kind, ids)
            left = unfinished(self.server, ids)
            if left is not None:
                print(f"{self.done.total()} done, {len(ids) - len(left)} of {len(ids)} finished", flush=True)
                if not left:
                    break

    def do(self, kind: str, ids: list[str]) -> bool:
        """Kill or damage something; return whether there was anything of this kind."""
        match kind:
            case "serve" | "host name":
                self.serve.kill(renamed=kind == "host name")
                return True
            case "run folder":
                return remove_run_folder(self.server, self.spares)
            case "journal":
                return spoil_journal(self.server, ids, self.draw)
            case "full tmp":
                return fill_tmp(self.server, self.serve.tmp, self.draw)
            case _:
                found = self._victim(kind, ids)
                if found is not None:
                    found.send_signal(signal.SIGKILL)
                return found is not None

    def _victim(self, kind: str, ids: list[str]) -> psutil.Process | None:
        if kind == "trainer":
            pids = (self.server.trainer_pid(run_id) for run_id in ids)
            pid = next((pid for pid in pids if pid is not None), None)
            return psutil.Process(pid) if pid is not None else None
        for child in self.serve.children:
            words = child.cmdline()
            if kind == "predictor" and "app.predictor" in words:
                return child
            if kind in words:
                return child
        return None


def predict_meanwhile(server: Server, model: str, ended: threading.Event, seen: Counter[str]) -> None:
    files = {"file": ("a.png", encode(random_image(1)), "image/png")}
    while not ended.wait(0.2):
        try:
            response = httpx.post(f"{server.url}/api/predict", params={"model": model}, files=files, timeout=60)
        except httpx.TransportError:
            seen["nobody there"] += 1
        else:
            known = response.status_code in (200, 503)
            seen[f"{response.status_code}" if known else f"{response.status_code}: {response.text[:300]}"] += 1


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
    parser.add_argument("--minutes", type=float, default=20, help="of the whole, with the references")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--runs", type=int, default=10, help="trained at once")
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
        with small_disk(home / "tmp") as tmp:
            serve = Serve(server, tmp)
            torture = Torture(serve, random.Random(arguments.seed))
            if not may(*RENAMED, "torture", "true"):
                del torture.kinds["host name"]
            try:
                serve.start()
                references = launch(server, arguments.epochs, arguments.runs)
                wait_all(server, references, max(600, 60 * arguments.minutes))
                ended, seen = threading.Event(), Counter[str]()
                rounds, lost = 0, 0
                asker = threading.Thread(target=predict_meanwhile, args=(server, references[0], ended, seen))
                asker.start()
                try:
                    while time.monotonic() < until:
                        torture.launch_spares()
                        ids = launch(server, arguments.epochs, arguments.runs)
                        torture.until_finished(ids, until)
                        wait_all(server, ids, 600)
                        lost += compare(server, ids, references)
                        rounds += 1
                finally:
                    ended.set()
                    asker.join()
            finally:
                serve.stop()
        left = belonging_to(home)
        done = torture.done
        text = ", ".join(f"{count} × {kind}" for kind, count in sorted(done.items()))
        runs = arguments.runs * rounds
        print(
            f"{done.total()} killed or damaged ({text}); {lost} of {runs} runs lost anything; {len(left)} left running"
        )
        print(f"predictions meanwhile: {dict(seen)}")
        if lost or left or set(seen) - {"200", "503", "nobody there"}:
            sys.exit(1)


if __name__ == "__main__":
    main()
