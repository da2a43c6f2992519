"""A search with tpe and successive halving beside random search with complete trainings, at equal device minutes.

What counts is the share of random search's minutes after which the other search has a validation as good as random
search's best. The share of its training steps is shown too: on a busy machine it is the fairer one. There are many
validation images for so small a training: with few, random search's best is the luckiest of its validations.
`python -m tests.benchmarks.search [SEEDS] [DATASET…]` prints each pair of searches.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx
import numpy as np

from tests.benchmarks.rows import Row, data_root
from tests.conftest import Server, new_server, wait_for
from trainer.data.format import Split, open_split, read_record
from trainer.data.writer import write_dataset

SEEDS = 5
DATASETS = ("shapes100", "cifar100")
TRIALS = 12
PER_CLASS: dict[Split, int] = {"train": 65, "test": 5}  # of "train", 40 are trained on and 25 are for validation
MARK = 1 / 3
SPACE = {
    "optimizer.lr": {"low": 1e-3, "high": 3.0, "log": True},
    "optimizer.weight_decay": {"low": 1e-6, "high": 1e-1, "log": True},
    "optimizer.momentum": {"low": 0.0, "high": 0.98},
    "label_smoothing": {"low": 0.0, "high": 0.4},
}
SETTINGS = {
    "optimizer.name": "sgd", "model.name": "swift", "model.widths": [8, 16, 16], "model.input_size": 16, "epochs": 18,
    "batch_size": 50, "val_fraction": 25 / 65, "augment.resolutions": [], "augment.resolution_until": [],
    "checks": "off", "compile": "off", "precision": "float32", "threads": 1,
    "track_gradients": False, "optimizer.ema": 0,
}  # fmt: skip


def measure(seeds: int = SEEDS, datasets: tuple[str, ...] = DATASETS) -> list[Row]:
    return [compared(dataset, seeds) for dataset in datasets]


def compared(dataset: str, seeds: int) -> Row:
    shares: list[tuple[float, float]] = []
    gains = []
    with tempfile.TemporaryDirectory() as name:
        reduce(data_root(), dataset, Path(name) / "datasets")
        server = new_server(Path(name) / "home", Path(name) / "datasets")
        try:
            server.spawn("web", "worker")
            server.wait_web()
            with server.client() as client:
                for seed in range(seeds):
                    *share, gain = pair(server, client, dataset, seed)
                    shares.append((share[0], share[1]))
                    gains.append(gain)
                    shown = f"{share[0]:.2f} of the minutes, {share[1]:.2f} of the steps, {100 * gain:+.1f} points"
                    print(f"{dataset}, seed {seed}: {shown}", flush=True)
        finally:
            server.close()
    return row_of(dataset, shares, gains)


def row_of(dataset: str, shares: list[tuple[float, float]], gains: list[float]) -> Row:
    """`shares` of the minutes and of the steps, infinite where random search's best was never reached; by seed."""
    minutes = sorted(share for share, _ in shares)
    median = statistics.median(minutes)
    shown = ", ".join("never" if share == float("inf") else f"{share:.2f}" for share in minutes)
    return Row(
        f"search on {dataset}, {TRIALS} trials' time, {len(shares)} seeds: "
        "share of random search's minutes until its best is reached",
        "≤ ⅓",
        f"median {median:.2f} ({shown}); of its steps {statistics.median(share for _, share in shares):.2f}; "
        f"at equal time {100 * statistics.mean(gains):+.1f} points of validation accuracy",
        median <= MARK,
    )


def reduce(root: Path, dataset: str, target: Path) -> None:
    """Write the first images of each class under the same name, so that a training takes seconds."""
    record = read_record(root, dataset)
    arrays: dict[Split, tuple[Any, Any, list[str]]] = {}
    for split, count in PER_CLASS.items():
        images, labels = open_split(root, dataset, split)
        rows = np.sort(np.concatenate([np.flatnonzero(labels == c)[:count] for c in range(len(record.classes))]))
        arrays[split] = np.array(images[rows]), labels[rows], [f"{row}.png" for row in rows]
    target.mkdir()
    write_dataset(target, dataset, arrays=arrays, classes=record.classes, source="benchmark")


def pair(server: Server, client: httpx.Client, dataset: str, seed: int) -> tuple[float, float, float]:
    """The shares of random search's minutes and steps that the other search needs for its best, and its final gain."""
    random = ended(client, dataset, {"sampler": "random", "pruner": "none", "trials": TRIALS, "seed": seed})
    limit = {"device_minutes": random["device_minutes"], "seed": 1000 + seed}
    other = ended(client, dataset, {"sampler": "tpe", "pruner": "asha", **limit})
    reference, curve = timeline(server, random), timeline(server, other)
    seconds, steps, best = reference[-1]
    never = float("inf"), float("inf"), best
    needed = next((at for at in curve if at[2] >= best), never)
    gain = max((value for second, _, value in curve if second <= seconds), default=0.0) - best
    return needed[0] / seconds, needed[1] / steps, gain


def ended(client: httpx.Client, dataset: str, more: dict[str, Any]) -> dict[str, Any]:
    settings = dict(SETTINGS)
    body = {"dataset": dataset, "preset": "fast", "overrides": settings, "space": SPACE, **more}
    search = client.post("/api/searches", json=body).raise_for_status().json()["id"]

    def over() -> dict[str, Any] | None:
        found: dict[str, Any] = client.get(f"/api/searches/{search}").json()
        return found if found["status"] in ("finished", "failed") else None

    return wait_for(over, 7200, "the search's end")


def timeline(server: Server, search: dict[str, Any]) -> list[tuple[float, int, float]]:
    """Seconds since the search was created, steps of all trials, and best accuracy so far, after each validation."""
    began = datetime.fromisoformat(search["created_at"]).timestamp()
    events = []
    for trial in search["trials"]:
        series = server.series(trial["run"], "val/acc").get("val/acc", {"time": [], "step": [], "value": []})
        rows = zip(series["time"], series["step"], series["value"], strict=True)
        events += [(time, trial["number"], step, value or 0.0) for time, step, value in rows]
    done: dict[int, int] = {}
    best, found = 0.0, []
    for time, number, step, value in sorted(events):
        done[number] = max(done.get(number, 0), step)
        best = max(best, value)
        found.append((time - began, sum(done.values()), best))
    return found


if __name__ == "__main__":
    chosen = int(sys.argv[1]) if len(sys.argv) > 1 else SEEDS
    for row in measure(chosen, tuple(sys.argv[2:]) or DATASETS):
        print(row)
