"""Latency from POST /api/runs to the first `train/loss` in the API, with a warm worker."""

from __future__ import annotations

import statistics
import time

import httpx

from tests.benchmarks.rows import Row, served, until

TIMES = 10


def measure() -> list[Row]:
    with served() as address, httpx.Client(base_url=address, timeout=30) as client:
        launch_once(client)  # warm-up: the fork server imports torch, and the dataset is read into the page cache
        seconds = [launch_once(client) for _ in range(TIMES)]
    median = statistics.median(seconds)
    shown = f"{median:.2f} s (median of {TIMES}; {min(seconds):.2f} to {max(seconds):.2f})"
    return [Row("POST /api/runs → first train/loss over the API", "≤ 0.5 s", shown, median <= 0.5)]


def launch_once(client: httpx.Client) -> float:
    started = time.perf_counter()
    body = {"dataset": "shapes100", "preset": "baseline-cnn"}
    run_id = client.post("/api/runs", json=body).raise_for_status().json()["id"]
    metrics = f"/api/runs/{run_id}/metrics?series=train/loss"
    until(lambda: client.get(metrics).json()["series"].get("train/loss"))
    spent = time.perf_counter() - started
    client.post(f"/api/runs/{run_id}/stop").raise_for_status()
    until(lambda: client.get(f"/api/runs/{run_id}").json()["status"] == "stopped")
    return spent
