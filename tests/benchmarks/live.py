"""Latency from the trainer's `emit` to a client's socket, while a real run trains."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from contextlib import contextmanager

import httpx
import orjson

from tests.benchmarks.rows import Row, percentile, served, until

VIEWERS = (1, 100)
SECONDS = 20.0


def measure() -> list[Row]:
    rows = []
    with (
        served() as address,
        httpx.Client(base_url=address, timeout=30) as client,
        training(client) as run_id,
    ):
        for viewers in VIEWERS:
            delays = asyncio.run(watch(address, run_id, viewers))
            p50, p95 = 1000 * percentile(delays, 0.5), 1000 * percentile(delays, 0.95)
            shown = f"p50 {p50:.0f} ms, p95 {p95:.0f} ms ({len(delays):,} values)"
            rows.append(
                Row(f"emit → SSE client, {viewers} viewer{'s' * (viewers > 1)}", "p95 ≤ 250 ms", shown, p95 <= 250)
            )
    return rows


@contextmanager
def training(client: httpx.Client) -> Iterator[str]:
    """Train a run that logs each step; yield its id."""
    body = {"dataset": "shapes100", "preset": "baseline-cnn", "overrides": {"log_every": 1}}
    run_id = client.post("/api/runs", json=body).raise_for_status().json()["id"]
    until(lambda: client.get(f"/api/runs/{run_id}").json()["status"] == "running")
    yield run_id
    client.post(f"/api/runs/{run_id}/stop").raise_for_status()
    until(lambda: client.get(f"/api/runs/{run_id}").json()["status"] == "stopped")


async def watch(address: str, run_id: str, viewers: int) -> list[float]:
    """Return the seconds between emission and arrival of each value, for all viewers."""
    limits = httpx.Limits(max_connections=viewers)
    async with httpx.AsyncClient(base_url=address, timeout=30, limits=limits) as client:
        found = await asyncio.gather(*(view(client, run_id) for _ in range(viewers)))
    return [delay for delays in found for delay in delays]


async def view(client: httpx.AsyncClient, run_id: str) -> list[float]:
    delays: list[float] = []
    deadline = time.monotonic() + SECONDS
    async with client.stream("GET", "/api/events", params={"runs": run_id, "kinds": "metrics"}) as answer:
        async for line in answer.aiter_lines():
            if line.startswith("data: "):
                now = time.time()
                series = orjson.loads(line[6:]).get("series", {})
                delays += [now - emitted for emitted in series.get("train/loss", {}).get("time", [])]
            if time.monotonic() > deadline:
                break
    return delays
