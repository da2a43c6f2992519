"""A million points in TensorBoard's files: imported, opened, and exported for TensorBoard's own reader.

TensorBoard is no dependency of Trackside: it is found in the folder `TRACKSIDE_BENCH_PEERS`, or left out.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import httpx

from tests.benchmarks.rows import Row, served, until
from trackside.tensorboard.encoding import scalar_record, version_record

PEERS = os.environ.get("TRACKSIDE_BENCH_PEERS", "")
ROOT = Path(__file__).parents[2]
TAGS, STEPS = 10, 100_000
READ = """
import sys
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
found = EventAccumulator(sys.argv[1], size_guidance={"scalars": 0})
found.Reload()
print(sum(len(found.Scalars(tag)) for tag in found.Tags()["scalars"]))
"""


def measure() -> list[Row]:
    with tempfile.TemporaryDirectory() as folder, served() as address:
        logs = Path(folder) / "logs"
        logs.mkdir()
        write(logs / "events.out.tfevents.1700000000.host.1.0")
        with httpx.Client(base_url=address, timeout=60) as client:
            began = time.perf_counter()
            trackside(Path(folder), address, "import", "tensorboard", "logs")
            run = client.get("/api/runs").json()["items"][0]["id"]
            until(lambda: client.get(f"/api/runs/{run}").json()["status"] == "finished", 300, 0.05)
            imported = time.perf_counter() - began
            opened = opening(client, run)
        rows = [
            Row("TensorBoard: a million points imported", "", f"{imported:.1f} s, to committed rows", None),
            Row("its page with the curves", "≤ 2 s", f"{opened:.2f} s", opened <= 2),
        ]
        if (Path(PEERS) / "tensorboard").is_dir():
            trackside(Path(folder), address, "export", "tensorboard", run, "-o", "out")
            read = read_by_tensorboard(Path(folder) / "out")
            what = "scalars of its export that TensorBoard reads"
            rows.append(Row(what, f"{TAGS * STEPS:,}", f"{read:,}", read == TAGS * STEPS))
    return rows


def write(path: Path) -> None:
    with path.open("wb") as file:
        file.write(version_record(1.7e9))
        for step in range(STEPS):
            for tag in range(TAGS):
                file.write(scalar_record(1.7e9 + step / 10, step, f"group{tag}/loss", 1 / (step + 1)))


def read_by_tensorboard(folder: Path) -> int:
    environment = {**os.environ, "PYTHONPATH": PEERS}
    command = [sys.executable, "-c", READ, f"{folder}"]
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    return int(done.stdout)


def trackside(folder: Path, address: str, *words: str) -> None:
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "client"), "TRACKSIDE_URL": address}
    subprocess.run([sys.executable, "-m", "trackside", *words], cwd=folder, env=environment, check=True)


def opening(client: httpx.Client, run: str) -> float:
    """Return the seconds in which the page and the points of its charts are answered."""
    began = time.perf_counter()
    client.get(f"/runs/{run}", headers={"Accept": "text/html"}).raise_for_status()
    names = [("name", f"group{tag}/loss") for tag in range(TAGS)]
    client.get(f"/api/runs/{run}/metrics", params=[*names, ("points", "2000")]).raise_for_status()
    return time.perf_counter() - began
