"""Logging from a script of one's own, beside trackio, tensorboardX and wandb offline, in one run.

The peers are no dependencies of Trackside: `TRACKSIDE_BENCH_PEERS` names a folder in which `pip install --target` has
put them. Those that are missing are left out.
"""

from __future__ import annotations

import json
import os
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from tests.benchmarks.peer_logging import count_scalars
from tests.benchmarks.rows import Row, served, until

PEERS = os.environ.get("TRACKSIDE_BENCH_PEERS", "")
NAMES = {
    "trackside": "the client, until the server has committed",
    "wandb": "wandb offline",
    "trackio": "trackio",
    "tensorboardX": "tensorboardX",
    "tensorboardX flushed": "tensorboardX, flushed after each call",
}
# Enough that starting and ending do not count.
CALLS = {
    "trackside": 100_000,
    "wandb": 10_000,
    "trackio": 50_000,
    "tensorboardX": 20_000,
    "tensorboardX flushed": 5_000,
}
SCALARS = 5
ROUNDS = 3
KILLED_CALLS = 2_000
MOSTLY = 0.9  # of what a killed script has logged: wandb loses some
ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Rate:
    """Scalars per second that the calls took, and that were written for good."""

    called: float
    written: float


def measure() -> list[Row]:
    names = [name for name in NAMES if name == "trackside" or (Path(PEERS) / name.split()[0]).is_dir()]
    rates: dict[str, list[Rate]] = {name: [] for name in names}
    with tempfile.TemporaryDirectory() as home, served(home=Path(home)) as address:
        for number in range(ROUNDS):
            for name in names:  # by turns, as the machine is shared
                rates[name].append(_measured(name, f"round-{number}", address, Path(home)))
        kept = {name: _kept(name, address, Path(home)) for name in names}
    written = {name: statistics.median(rate.written for rate in rates[name]) for name in names}
    rows = [_row(name, rates[name], kept[name]) for name in names]
    durable = [written[name] for name in names if name != "trackside" and kept[name] > MOSTLY]
    if durable:
        ratio = written["trackside"] / max(durable)
        what = "scalars written per second, against the fastest peer that keeps what a killed script has logged"
        rows.append(Row(what, "≥ 3×", f"{ratio:.1f}×", ratio >= 3))
    return rows


def _row(name: str, rates: list[Rate], kept: float) -> Row:
    called = statistics.median(rate.called for rate in rates)
    written = statistics.median(rate.written for rate in rates)
    text = (
        f"{written:,.0f} scalars/s written; {1e6 / called:.1f} µs a scalar in the script; {kept:.0%} kept after SIGKILL"
    )
    return Row(f"logging {SCALARS} scalars per call: {NAMES[name]}", "", text, None)


def _measured(name: str, run_id: str, address: str, home: Path) -> Rate:
    calls = CALLS[name]
    with tempfile.TemporaryDirectory() as folder:
        told = _script(name, calls, "finish", Path(folder), run_id, address)
        seconds = told["written"]
        if name == "trackside":
            until(lambda: _committed(home, run_id) == calls * SCALARS, pause=0.01)
            seconds += time.time() - told["ended"]
        else:
            assert count_scalars(name, Path(folder)) == calls * SCALARS, name
    return Rate(calls * SCALARS / told["called"], calls * SCALARS / seconds)


def _kept(name: str, address: str, home: Path) -> float:
    """Return the share of the scalars that is kept if the script is killed once its last call has returned."""
    wanted = KILLED_CALLS * SCALARS
    with tempfile.TemporaryDirectory() as folder:
        _script(name, KILLED_CALLS, "kill", Path(folder), "killed", address)
        found = 0
        deadline = time.monotonic() + 20
        while found < wanted and time.monotonic() < deadline:
            time.sleep(0.1)
            found = _committed(home, "killed") if name == "trackside" else count_scalars(name, Path(folder))
    return found / wanted


def _script(name: str, calls: int, end: str, folder: Path, run_id: str, address: str) -> dict[str, float]:
    """Run the script in a process of its own, and return the times that it prints."""
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(ROOT / "client"), str(ROOT), PEERS]),
        "TRACKSIDE_URL": address,
        "TRACKSIDE_RUN_ID": run_id,
        "TRACKIO_DIR": str(folder / "trackio"),
        "HF_HUB_OFFLINE": "1",
        "WANDB_SILENT": "true",
    }
    command = [sys.executable, "-m", "tests.benchmarks.peer_logging", name, str(calls), str(SCALARS), end]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=600)
    lines = [line for line in done.stdout.splitlines() if line.startswith("{")]
    if not lines:
        raise RuntimeError(f"{name}: {done.stderr[-2000:]}")
    told: dict[str, float] = json.loads(lines[-1])
    return told


def _committed(home: Path, run_id: str) -> int:
    database = sqlite3.connect(f"file:{home}/trackside.db?mode=ro", uri=True)
    query = "SELECT coalesce(sum(total), 0) FROM series WHERE run = (SELECT key FROM run WHERE id = ?)"
    (found,) = database.execute(query, (run_id,)).fetchone()
    database.close()
    return int(found)
