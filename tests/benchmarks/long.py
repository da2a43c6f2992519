"""`python -m tests.benchmarks.long [NAME…]`: complete runs on CIFAR-100, launched over HTTP.

Appends each result to docs/long-runs.jsonl as soon as it is available; docs/benchmarks.md shows them.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any

import httpx

from tests.benchmarks.rows import data_root, machine, served, until

RECORD = Path(__file__).parents[2] / "docs" / "long-runs.jsonl"
DATASET = "cifar100"
POLL_SECONDS = 0.25


@dataclass(frozen=True)
class LongRun:
    what: str
    preset: str
    mark: float
    """The least test accuracy."""
    minutes: float
    """The longest time from launch to the final test result."""
    overrides: dict[str, Any] = field(default_factory=dict)
    seeds: tuple[int, ...] = (0,)


RUNS = {
    "quick": LongRun("`quick`, 10 minutes", "quick", 0.68, 10, seeds=(0, 1, 2)),
    "quick30": LongRun(
        "`quick`, 30 minutes, widths 64, 256, 256",
        "quick",
        0.73,
        30,
        {"budget.minutes": 30, "model.widths": [64, 256, 256], "epochs": 24},
    ),
}


def main(names: list[str]) -> None:
    if not (data_root() / DATASET / "dataset.json").exists():
        sys.exit(f"There is no {DATASET} in {data_root()}: trackside datasets add {DATASET} --from …")
    for name in names or RUNS:
        for seed in RUNS[name].seeds:
            with served() as address, httpx.Client(base_url=address, timeout=30) as client:
                result = measure(client, RUNS[name], seed)
            line = {"run": name, "seed": seed, **result, "date": f"{date.today()}", "commit": commit()}
            with RECORD.open("a") as file:
                file.write(json.dumps({**line, "machine": machine()}) + "\n")
            print(line, flush=True)


def measure(client: httpx.Client, run: LongRun, seed: int) -> dict[str, Any]:
    """Launch a run, wait for its test result, and return it with the wall time in seconds."""
    body = {"dataset": DATASET, "preset": run.preset, "overrides": {**run.overrides, "seed": seed}}
    started = time.monotonic()
    run_id = client.post("/api/runs", json=body).raise_for_status().json()["id"]

    def ended() -> bool:
        status = client.get(f"/api/runs/{run_id}").json()["status"]
        assert status != "failed"
        return bool(status == "finished")

    until(ended, 3 * 60 * run.minutes, POLL_SECONDS)
    wall = time.monotonic() - started
    found = client.get(f"/api/runs/{run_id}").json()
    summary = {name: found["summary"][name] for name in ("test/acc", "test/loss", "last/test/acc", "best/val_acc")}
    return {"seconds": round(wall, 1), "epochs": round(found["step"] / found["steps_per_epoch"], 1), **summary}


def commit() -> str:
    return subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=True
    ).stdout.strip()


def table() -> Iterator[str]:
    """Yield the lines of docs/benchmarks.md about complete runs, with the latest result of each seed and processor."""
    newest: dict[tuple[str, str, int], dict[str, Any]] = {}
    for line in RECORD.read_text().splitlines() if RECORD.exists() else ():
        row = json.loads(line)
        newest[row["run"], row["machine"].split(",")[0], row["seed"]] = row
    found: dict[tuple[str, str], list[dict[str, Any]]] = defaultdict(list)
    for (name, where, _), row in newest.items():
        found[name, where].append(row)
    yield "| run | processor | mark | test accuracy | launch to final test | epochs | seeds | reached |"
    yield "|---|---|---|---|---|---|---|---|"
    for (name, where), rows in found.items():
        run = RUNS[name]
        accuracies = [row["test/acc"] for row in rows]
        spread = f" ± {100 * statistics.stdev(accuracies):.1f}" if len(rows) > 1 else ""
        slowest = max(row["seconds"] for row in rows)
        reached = min(accuracies) >= run.mark and slowest <= 60 * run.minutes
        yield (
            f"| {run.what} | {where} | ≥ {100 * run.mark:.0f}% in {run.minutes:g} min | "
            f"{100 * statistics.mean(accuracies):.1f}%{spread} | at most {slowest:.0f} s | "
            f"{statistics.mean(row['epochs'] for row in rows):.1f} | {len(rows)} | {'yes' if reached else '**no**'} |"
        )


if __name__ == "__main__":
    main(sys.argv[1:])
