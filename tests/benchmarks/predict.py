"""One client's predictions of a 32×32 PNG over HTTP."""

from __future__ import annotations

import io
import statistics
import time

import httpx
from PIL import Image

from tests.benchmarks.rows import Row, data_root, percentile, served, until
from trainer.data.format import open_split

TIMES = 300


def measure() -> list[Row]:
    buffer = io.BytesIO()
    Image.fromarray(open_split(data_root(), "shapes100", "test")[0][0]).save(buffer, "PNG")
    files = {"file": ("image.png", buffer.getvalue(), "image/png")}
    with served() as address, httpx.Client(base_url=address, timeout=60) as client:
        body = {"dataset": "shapes100", "preset": "baseline-cnn", "overrides": {"max_steps": 5}}
        run_id = client.post("/api/runs", json=body).raise_for_status().json()["id"]
        until(lambda: client.get(f"/api/runs/{run_id}").json()["status"] == "finished")
        milliseconds = []
        for _ in range(TIMES):
            started = time.perf_counter()
            client.post("/api/predict", params={"model": run_id}, files=files).raise_for_status()
            milliseconds.append(1000 * (time.perf_counter() - started))
    p50, p99 = statistics.median(milliseconds), percentile(milliseconds, 0.99)
    return [Row("predict, 1 client, a 32×32 PNG", "", f"p50 {p50:.1f} ms, p99 {p99:.1f} ms", None)]
