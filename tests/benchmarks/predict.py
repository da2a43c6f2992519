"""Predictions of a 32×32 PNG over HTTP, compared with LitServe and a plain handler with the same checkpoint.

Requires wrk.
"""

from __future__ import annotations

import io
import json
import os
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
from PIL import Image

from app.supervisor import free_port
from tests.benchmarks.rows import Row, data_root, served, until
from trainer.data.format import open_split

ROUNDS = 3
SECONDS = 8
CLIENTS = (1, 64)
PEERS = {"trackside": "Trackside", "litserve": "LitServe", "plain": "a plain FastAPI handler"}
BOUNDARY = "a-boundary-of-the-benchmark"

SCRIPT = """
local file = io.open(os.getenv("BODY"), "rb")
wrk.method = "POST"
wrk.body = file:read("*a")
wrk.headers["Content-Type"] = "multipart/form-data; boundary={boundary}"
file:close()
function done(summary, latency)
  local failed = summary.errors.status + summary.errors.connect + summary.errors.read + summary.errors.timeout
  print(string.format('{{"rate": %.6f, "p50": %.4f, "p99": %.4f, "failed": %d}}',
    1e6 * summary.requests / summary.duration, latency:percentile(50) / 1000, latency:percentile(99) / 1000, failed))
end
"""


@dataclass(frozen=True)
class Load:
    """Throughput (requests per second) and latency (ms) of one server with one number of clients."""

    rate: float
    p50: float
    p99: float
    failed: int


def measure() -> list[Row]:
    if shutil.which("wrk") is None:
        sys.exit("The benchmark of predictions needs wrk: apt-get install wrk")
    found: dict[tuple[str, int], list[Load]] = defaultdict(list)
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        body, script, home = Path(folder) / "body", Path(folder) / "post.lua", Path(folder) / "home"
        home.mkdir()
        body.write_bytes(multipart())
        script.write_text(SCRIPT.format(boundary=BOUNDARY))
        address = stack.enter_context(served(home=home))
        run_id = trained(address)
        for _ in range(ROUNDS):
            for name in PEERS:
                with answering(name, address, home, run_id) as url:
                    until(lambda url=url: works(url, body.read_bytes()))  # type: ignore[misc]
                    load(url, 8, script, body, 2)  # warm-up
                    for clients in CLIENTS:
                        found[name, clients].append(load(url, clients, script, body, SECONDS))
        url = f"{address}/api/predict?model={run_id}&top_k=5"
        beside = [beside_training(address, lambda: load(url, 1, script, body, SECONDS))]
    return [*rows({key: middle(loads) for key, loads in found.items()}), *beside]


def beside_training(address: str, predict: Callable[[], Load]) -> Row:
    """Compare the training steps of a run with and without one client that predicts continuously, alternately."""
    alone, shared, loads = [], [], []
    with httpx.Client(base_url=address, timeout=60) as client:
        body = {"dataset": "shapes100", "preset": "baseline-cnn", "overrides": {"checks": "off", "epochs": 1000}}
        run_id = client.post("/api/runs", json=body).raise_for_status().json()["id"]

        def step() -> int:
            return int(client.get(f"/api/runs/{run_id}").json()["step"])

        until(lambda: step() > 50)
        for _ in range(ROUNDS):
            began = step()
            time.sleep(SECONDS)
            alone.append(step() - began)
            began = step()
            loads.append(predict())
            shared.append(step() - began)
        client.post(f"/api/runs/{run_id}/stop").raise_for_status()
        until(lambda: client.get(f"/api/runs/{run_id}").json()["status"] == "stopped")
    one, share = middle(loads), statistics.median(b / a for a, b in zip(alone, shared, strict=True))
    figures = (
        f"{one.rate:,.0f} requests/s, p50 {one.p50:.1f} ms, p99 {one.p99:.1f} ms; training at {share:.0%} of its pace"
    )
    return Row("predict, 1 client without pause, while a run trains on the same cores", "", figures, None)


def trained(address: str) -> str:
    with httpx.Client(base_url=address, timeout=60) as client:
        body = {"dataset": "shapes100", "preset": "baseline-cnn", "overrides": {"max_steps": 5}}
        run_id: str = client.post("/api/runs", json=body).raise_for_status().json()["id"]
        until(lambda: client.get(f"/api/runs/{run_id}").json()["status"] == "finished")
    return run_id


@contextmanager
def answering(name: str, address: str, home: Path, run_id: str) -> Iterator[str]:
    """Yield the prediction URL of the server `name`; a peer is started as a process and killed afterwards."""
    if name == "trackside":
        yield f"{address}/api/predict?model={run_id}&top_k=5"
        return
    port = free_port("127.0.0.1")
    arguments = [str(port), str(home / "runs" / run_id), str(home / "datasets")]
    command = [sys.executable, "-m", f"tests.benchmarks.peer_{name}", *arguments]
    process = subprocess.Popen(command, env={**os.environ, "CUDA_VISIBLE_DEVICES": ""}, start_new_session=True)
    try:
        yield f"http://127.0.0.1:{port}/predict"
    finally:
        os.killpg(process.pid, signal.SIGKILL)  # LitServe's shutdown may hang
        process.wait(60)


def multipart() -> bytes:
    picture = io.BytesIO()
    Image.fromarray(open_split(data_root(), "shapes100", "test")[0][0]).save(picture, "PNG")
    head = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="file"; filename="image.png"\r\n'
    return f"{head}Content-Type: image/png\r\n\r\n".encode() + picture.getvalue() + f"\r\n--{BOUNDARY}--\r\n".encode()


def works(url: str, body: bytes) -> bool:
    try:
        headers = {"Content-Type": f"multipart/form-data; boundary={BOUNDARY}"}
        return httpx.post(url, content=body, headers=headers, timeout=30).status_code == 200
    except httpx.TransportError:
        return False


def load(url: str, clients: int, script: Path, body: Path, seconds: int) -> Load:
    command = ["wrk", "-t1", f"-c{clients}", f"-d{seconds}s", "--timeout", "30s", "-s", str(script), url]
    output = subprocess.run(
        command, env={**os.environ, "BODY": str(body)}, capture_output=True, text=True, check=True
    ).stdout
    return Load(**json.loads(next(line for line in output.splitlines() if line.startswith("{"))))


def middle(loads: list[Load]) -> Load:
    """Return the median of each value, and the sum of the failures."""
    return Load(
        statistics.median(one.rate for one in loads),
        statistics.median(one.p50 for one in loads),
        statistics.median(one.p99 for one in loads),
        sum(one.failed for one in loads),
    )


def rows(found: dict[tuple[str, int], Load]) -> Iterator[Row]:
    ours, theirs = found["trackside", 1], found["litserve", 1]
    share = ours.p50 / theirs.p50
    marks = {
        ("trackside", 1): (f"p50 ≤ ⅓ of LitServe's (it is {share:.2f})", share <= 1 / 3),
    }
    ours, theirs = found["trackside", 64], found["litserve", 64]
    rate, slowest = ours.rate / theirs.rate, ours.p99 / theirs.p99
    marks["trackside", 64] = (
        f"≥ 2.5× LitServe's requests/s (it is {rate:.2f}), p99 ≤ ½ of its (it is {slowest:.2f})",
        rate >= 2.5 and slowest <= 0.5,
    )
    for clients in CLIENTS:
        for name, title in PEERS.items():
            one = found[name, clients]
            mark, reached = marks.get((name, clients), ("", None))
            failed = f", {one.failed} failed" if one.failed else ""
            figures = f"{one.rate:,.0f} requests/s, p50 {one.p50:.1f} ms, p99 {one.p99:.1f} ms{failed}"
            plural = "client" if clients == 1 else "clients"
            yield Row(f"predict a 32×32 PNG (`baseline-cnn`), {clients} {plural}: {title}", mark, figures, reached)
