"""The home of a large cluster: its outpost with hundreds of simulated devices, each training short runs.

The seats are simulated: they answer as real ones do, with events at a given rate, and take no time. Everything at home
is real: the loops, the mirrors, the run directories, the database. The figures say how much one home can follow.
"""

from __future__ import annotations

import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
from sqlalchemy import func
from sqlmodel import select

from app.cluster.node_seat import NodeGreeting
from app.cluster.seat_loop import SeatLoop
from app.cluster.seats import NodeDevice
from app.cluster.turn import Turn
from app.cluster.versions import versions
from app.host.probes import Reading
from app.runs.launching import Launcher
from app.runs.requests import NewRun
from app.settings import Settings
from app.storage.db import Database
from app.storage.tables import Change, Run, Status
from app.worker.loop import TICK_SECONDS
from tests.benchmarks.rows import Row, data_root
from trainer.node.calls import Beginning, Greeting, Have, Pulled

NODES, DEVICES = 64, 8
SECONDS = 20.0
STEPS_PER_SECOND = 2.0  # logged points per run; a run on a GPU logs about 200 per epoch
NOTHING: dict[str, Any] = {
    "pid": 1, "exited": False, "checkpoints": {}, "files": {}, "more": False, "output": b"", "decisions": None,
    "decisions_stamp": None, "requests": frozenset(),
}  # fmt: skip


@dataclass
class SimulatedSeat:
    """Answers as a seat that trains, with `rate` points per second."""

    host: str
    rate: float
    began: float = 0.0
    text: bytes = b""
    step: int = 0
    there_since: float = 0.0
    address: str = "127.0.0.1"

    def greet(self) -> NodeGreeting:
        seat = Greeting(self.host, "cuda:0", "simulated", versions(), time.time(), 1 << 40)
        return NodeGreeting(seat, Reading(utilisation=0.9, memory=1, memory_total=2), draining=False)

    def missing(self, _hashes: list[str]) -> dict[str, int]:
        return {}

    def begin(self, what: Beginning) -> int:
        start = {
            "e": "start", "t": time.time(), "attempt": what.attempt, "from_step": 0, "total_steps": 100_000,
            "steps_per_epoch": 1000, "epochs": 100, "batch_size": 64, "val_count": 100, "device": "cuda:0",
        }  # fmt: skip
        events = (start, {"e": "phase", "t": time.time(), "phase": "training"})
        self.text, self.began = b"".join(orjson.dumps(event) + b"\n" for event in events), time.monotonic()
        return 1

    def pull(self, _run: str, _claim: int, _attempt: int, have: Have, wait_seconds: float) -> Pulled:
        deadline = time.monotonic() + wait_seconds
        while have.events >= len(self.text):
            due = self.began + (self.step + 1) / self.rate
            if due > deadline:
                time.sleep(max(0.0, deadline - time.monotonic()))
                break
            time.sleep(max(0.0, due - time.monotonic()))
            self.step += 1
            values = {"train/loss": 1.0, "train/acc": 0.5, "lr": 0.1}
            point = {"e": "metrics", "t": time.time(), "step": self.step, "v": values}
            self.text += orjson.dumps(point) + b"\n"
        return Pulled(events=self.text[have.events :], **NOTHING)

    def end(self, _run: str, _claim: int, _attempt: int) -> None:
        pass


def measure() -> Iterator[Row]:
    for nodes in (8, 16, 32, NODES):
        yield from _measure(nodes * DEVICES)


def _measure(devices: int) -> Iterator[Row]:
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        (home / "datasets").symlink_to(data_root().resolve())
        settings = Settings(home=home)
        database = Database(settings.url)
        database.migrate()
        launcher = Launcher(database, settings)
        for _ in range(devices):
            launcher.create(NewRun.model_validate({"dataset": "shapes100", "preset": "baseline-cnn"}))
        loops: list[SeatLoop] = []
        by_name: dict[str, SeatLoop] = {}  # no run trains on several
        turn = Turn(database)
        for number in range(devices):
            device = NodeDevice("n", f"node{number // DEVICES}", number % DEVICES, f"cuda:{number % DEVICES}")
            seat: Any = SimulatedSeat(device.host, STEPS_PER_SECOND)
            loops.append(SeatLoop(settings, database, device, seat, threading.Lock(), turn, by_name.__getitem__))
        began = time.monotonic()
        while _running(database) < devices and time.monotonic() - began < 300:
            _tick(turn, loops)
        claimed = time.monotonic() - began
        processor, began, changes = time.process_time(), time.monotonic(), _changes(database)
        turns = 0
        longest = 0.0
        while time.monotonic() - began < SECONDS:
            at = time.monotonic()
            _tick(turn, loops)
            longest = max(longest, time.monotonic() - at)
            turns += 1
            time.sleep(TICK_SECONDS)
        seconds = time.monotonic() - began
        load = (time.process_time() - processor) / seconds
        rate = (_changes(database) - changes) / seconds
        behind = sum(seat.step for seat in _seats(loops)) - _steps(database)
        yield Row(
            f"{devices} devices on {devices // DEVICES} nodes, {STEPS_PER_SECOND:g} points per second and run",
            "",
            f"all begun in {claimed:.1f} s ({devices / claimed:.0f}/s), {rate:.0f} changes/s, {100 * load:.0f}% of "
            f"a core, a turn of all loops in {1000 * seconds / turns:.0f} ms (at most {1000 * longest:.0f}), "
            f"{behind / devices:.1f} points behind per run",
            None,
        )
        for loop in loops:
            loop.leave()
        database.close()


def _tick(turn: Turn, loops: list[SeatLoop]) -> None:
    turn.begin([held.job.key or 0 for loop in loops for held in loop.held.values()])
    for loop in loops:
        loop.tick(time.monotonic())


def _seats(loops: list[SeatLoop]) -> list[SimulatedSeat]:
    return [seat for loop in loops if isinstance(seat := loop.seat.calls, SimulatedSeat)]


def _running(database: Database) -> int:
    training = select(func.count()).select_from(Run).where(Run.status == Status.RUNNING, Run.step > 0)
    with database.read() as session:
        return session.exec(training).one()


def _steps(database: Database) -> int:
    with database.read() as session:
        return int(session.exec(select(func.sum(Run.step))).one() or 0)


def _changes(database: Database) -> int:
    with database.read() as session:
        return int(session.exec(select(func.max(Change.seq))).one() or 0)


if __name__ == "__main__":
    for row in measure():
        print(f"{row.what}: {row.measured}", flush=True)
