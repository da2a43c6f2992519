"""`python -m tests.cluster.torture`: runs on one or two of three nodes; processes are killed, and cables taken away.

Seats, Ray on the nodes, the head, the outpost, the web process, trainers, whole machines; partitions that are shorter
and longer than the patience of the home. The draws are seeded. At the end each run has finished, each of its steps has
one value, in the run directory and in the database, each listed checkpoint loads, and no trainer is left on a node.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
import threading
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import psutil

from app.settings import Settings
from app.storage.db import Database
from app.supervisor import free_port
from tests.cluster.machines import Machine, Network, network, processes_with, serving
from tests.cluster.test_cluster import assert_each_step_once
from tests.conftest import TEST_PER_CLASS, TRAIN_PER_CLASS, Server, wait_for
from tests.crash.damage import answer
from tests.crash.torture import OVERRIDES
from trainer.data.sources.shapes import make_shapes100
from trainer.models import checkpoint
from trainer.rundir.checkpoints import list_checkpoints

PAUSE = (3.0, 15.0)
PATIENCE = 10.0  # seconds
VICTIMS = {"seat": 4, "raylet": 2, "trainer": 4, "outpost": 3, "web": 2, "head": 1, "machine": 2, "cable": 3}
PROCESSES = {
    "seat": "ray::NodeSeat", "raylet": "raylet/raylet", "trainer": "trainer.process.forkserver",
    "outpost": "app.cli outpost", "web": "app.cli web", "head": "gcs_server",
}  # fmt: skip


@dataclass
class Torture:
    server: Server
    lan: Network
    serve: int
    draw: random.Random
    done: Counter[str] = field(default_factory=Counter)

    def step(self) -> None:
        """Kill a process, a machine or a connection; all come back."""
        kind = self.draw.choices(list(VICTIMS), list(VICTIMS.values()))[0]
        machine = self.draw.choice(list(self.lan.machines.values()))
        with suppress(psutil.NoSuchProcess):
            match kind:
                case "machine":
                    machine.kill()
                    threading.Event().wait(self.draw.uniform(0, 2 * PATIENCE))
                    machine.join()
                case "cable":
                    machine.cut()
                    threading.Event().wait(self.draw.uniform(1, 3 * PATIENCE))
                    machine.heal()
                case _:
                    parent = self.serve if kind in ("outpost", "web", "head") else machine.pid
                    found = processes_with(PROCESSES[kind], parent)
                    if not found:
                        return
                    self.draw.choice(found).kill()
        self.done[kind] += 1


def finished(server: Server, ids: list[str]) -> int:
    page = answer(server, f"/api/runs?limit={len(ids)}")
    if page is None:
        return 0
    for run in page["items"]:
        assert run["status"] != "failed", run["error"]
    return sum(run["status"] == "finished" for run in page["items"])


def all_finished(server: Server, ids: list[str]) -> bool:
    return finished(server, ids) == len(ids)


def check(server: Server, ids: list[str]) -> int:
    """Return how many attempts the runs took. Raises AssertionError, and CheckpointDamaged."""
    attempts = 0
    for run_id in ids:
        run = server.run(run_id)
        attempts += run["attempt"]
        assert run["step"] == run["total_steps"]
        assert_each_step_once(server, run_id)
        folder = server.settings.runs / run_id
        with server.client() as client:
            listed = client.get(f"/api/runs/{run_id}/checkpoints").json()
        steps = {info.step for info in list_checkpoints(folder)}
        assert {one["step"] for one in listed} <= steps, (listed, steps)
        for info in list_checkpoints(folder):
            checkpoint.load(folder, info)
    return attempts


def is_empty(machine: Machine) -> bool:
    return not any((machine.folder / "node").glob("seats/*/runs/[!.]*"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--runs", type=int, default=6)
    parser.add_argument("--epochs", type=int, default=60)
    arguments = parser.parse_args()
    until = time.monotonic() + 60 * arguments.minutes
    with tempfile.TemporaryDirectory() as name:
        folder, home = Path(name), Path(name) / "home"
        home.mkdir()
        make_shapes100(home / "datasets", train_per_class=TRAIN_PER_CLASS, test_per_class=TEST_PER_CLASS)
        settings = Settings(home=home, port=free_port("127.0.0.1"), max_attempts=10_000, lease_seconds=5)
        settings = settings.model_copy(update={"remote_patience_seconds": PATIENCE})
        database = Database(settings.url)
        database.migrate()
        database.close()
        server, rounds, attempts = Server(home, settings), 0, 0
        with network(folder, home) as lan, serving(server, lan) as serve:
            torture = Torture(server, lan, serve.pid, random.Random(arguments.seed))
            for name in ("a", "b", "c"):
                lan.machine(name).join()
            while time.monotonic() < until:
                overrides = {**OVERRIDES, "epochs": arguments.epochs, "checkpoint_minutes": 0.03}
                # Every third run is trained on the devices of two nodes.
                ids = [
                    server.launch(overrides={**overrides, "seed": seed, "devices": 2 if seed % 3 == 2 else 1})
                    for seed in range(arguments.runs)
                ]
                while time.monotonic() < until and finished(server, ids) < len(ids):
                    threading.Event().wait(torture.draw.uniform(*PAUSE))
                    torture.step()
                    print(f"{torture.done.total()} done, {finished(server, ids)} of {len(ids)} finished", flush=True)
                wait_for(partial(all_finished, server, ids), 900, "the end of all runs")
                attempts += check(server, ids)
                rounds += 1
            for machine in lan.machines.values():
                wait_for(partial(is_empty, machine), 60, "the end of all trainers")
    text = ", ".join(f"{count} × {kind}" for kind, count in sorted(torture.done.items()))
    print(f"{torture.done.total()} killed or cut off ({text}); {rounds * arguments.runs} runs in {attempts} attempts:")
    print("every value once, every listed checkpoint loads, no trainer is left")
    sys.exit(0)


if __name__ == "__main__":
    main()
