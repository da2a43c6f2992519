"""`python -m tests.benchmarks.peer_logging LIBRARY CALLS SCALARS END`: a script that logs, in a process of its own.

END is `finish`, or `kill`: it kills itself once the last call has returned. Prints the seconds that the calls took, and
those until everything was written.
"""

from __future__ import annotations

import importlib
import json
import os
import signal
import sqlite3
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from trackside.imports.protobuf import as_bytes, fields
from trackside.wandb_files.log import LogFile

HISTORY = 2  # the field of a record of W&B
Log = Callable[[int, dict[str, float]], object]


def main() -> None:
    library, calls, scalars, end = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4]
    log, finish = OPENED[library]()
    values = [{f"train/metric{number}": 1 / (step + 1) + number for number in range(scalars)} for step in range(100)]
    began = time.perf_counter()
    for step in range(calls):
        log(step, values[step % 100])
    called = time.perf_counter() - began
    if end == "kill":
        print(json.dumps({"called": called}), flush=True)
        os.kill(os.getpid(), signal.SIGKILL)
    finish()
    print(json.dumps({"called": called, "written": time.perf_counter() - began, "ended": time.time()}), flush=True)


def _trackside() -> tuple[Log, Callable[[], object]]:
    run = importlib.import_module("trackside").init(id=os.environ["TRACKSIDE_RUN_ID"], dir=".")
    return lambda step, values: run.log(values, step=step), run.finish


def _wandb() -> tuple[Log, Callable[[], object]]:
    run = importlib.import_module("wandb").init(project="peer", mode="offline")
    return lambda step, values: run.log(values, step=step), run.finish


def _trackio() -> tuple[Log, Callable[[], object]]:
    trackio: Any = importlib.import_module("trackio")
    run = trackio.init(project="peer", embed=False, auto_log_gpu=False, auto_log_cpu=False)
    return lambda step, values: run.log(values, step=step), trackio.finish


def _tensorboard(*, flushed: bool) -> tuple[Log, Callable[[], object]]:
    writer = importlib.import_module("tensorboardX").SummaryWriter("events", flush_secs=120)

    def log(step: int, values: dict[str, float]) -> None:
        for name, value in values.items():
            writer.add_scalar(name, value, step)
        if flushed:
            writer.flush()

    return log, writer.close


OPENED: dict[str, Callable[[], tuple[Log, Callable[[], object]]]] = {
    "trackside": _trackside,
    "wandb": _wandb,
    "trackio": _trackio,
    "tensorboardX": lambda: _tensorboard(flushed=False),
    "tensorboardX flushed": lambda: _tensorboard(flushed=True),
}


def count_scalars(library: str, folder: Path) -> int:
    """Return the number of scalars in what a library other than ours has written below `folder`."""
    match library:
        case "wandb":
            return sum(_in_wandb(path) for path in folder.rglob("*.wandb"))
        case "trackio":
            return sum(_in_trackio(path) for path in folder.rglob("*.db"))
        case _:
            return sum(data.count(b"train/metric") for path in folder.rglob("events.*") if (data := path.read_bytes()))


def _in_wandb(path: Path) -> int:
    found = 0
    for record in LogFile(path).records():
        found += sum(as_bytes(value).count(b"train/metric") for field, value in fields(record) if field == HISTORY)
    return found


def _in_trackio(path: Path) -> int:
    database = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
    rows = database.execute("SELECT metrics FROM metrics").fetchall()
    database.close()
    return sum(len([name for name in json.loads(text) if name.startswith("train/")]) for (text,) in rows)


if __name__ == "__main__":
    main()
