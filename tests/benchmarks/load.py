"""The specified load: many live streams of many runs, with concurrent predictions and page requests.

Measures lost values and page latency. tests/web/test_promise_16_load.py runs a smaller load.
"""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from multiprocessing import get_context
from pathlib import Path

import httpx
import orjson
import psutil

from app.supervisor import free_port
from tests.app.predictor.predict_home import encode, make_dataset, make_run, random_image
from tests.benchmarks.rows import Row, answers, percentile, until
from tests.processes import children_with

MODEL = "10ad000000"
EVENT_VALUES = 6  # per event of the feeder
MAX_GROWTH = 0.1


@dataclass(frozen=True)
class Load:
    streams: int = 1000
    runs: int = 50
    values: float = 10.0
    """Per second and run."""
    predictions: float = 20.0
    pages: float = 4.0
    seconds: float = 120.0


@dataclass
class Found:
    """The results of a load.

    `lost` counts the steps that a stream did not receive, `late` the `resync` events of streams that fell behind.
    `pages` and `predictions` are latencies in ms; `sizes` are samples of the web process's RSS in bytes, from a
    quarter of the duration on.
    """

    values: int = 0
    lost: int = 0
    late: int = 0
    pages: list[float] = field(default_factory=list)
    predictions: list[float] = field(default_factory=list)
    failed: int = 0
    sizes: list[int] = field(default_factory=list)
    busy: float = 0.0
    """CPU time of the web process per second, in cores."""

    @property
    def growth(self) -> float:
        return max(self.sizes) / self.sizes[0] - 1


def measure(load: Load | None = None) -> list[Row]:
    load = load or Load()
    found = under(load)
    p99 = percentile(found.pages, 0.99)
    what = (
        f"{load.streams:,} streams, {load.runs} runs × {load.values:g} values/s, {load.predictions:g} predictions/s, "
        f"{load.seconds:g} s"
    )
    told = f"{found.lost} of {found.values:,} values lost, {found.late} streams behind, {found.failed} requests failed"
    p50, predicted = percentile(found.pages, 0.5), percentile(found.predictions, 0.99)
    return [
        Row(f"{what}: lost", "nothing", told, not (found.lost or found.late or found.failed)),
        Row(
            f"{what}: a page",
            "p99 ≤ 300 ms",
            f"p50 {p50:.0f} ms, p99 {p99:.0f} ms of {len(found.pages)}; a prediction p50 "
            f"{percentile(found.predictions, 0.5):.0f} ms, p99 {predicted:.0f} ms; "
            f"web process {found.busy:.0%} of a core",
            p99 <= 300,
        ),
        Row(
            f"{what}: memory of the web process",
            "flat",
            f"{found.sizes[0] / 2**20:.0f} MiB at a quarter of the time, then at most {max(found.sizes) / 2**20:.0f}",
            found.growth <= MAX_GROWTH,
        ),
    ]


def under(load: Load) -> Found:
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        make_dataset(home)
        make_run(home, MODEL)
        with loaded_server(home, load) as (address, web):
            return asyncio.run(_Watch(address, web, load).all())


@contextmanager
def loaded_server(home: Path, load: Load) -> Iterator[tuple[str, psutil.Process]]:
    """Yield the address and the web process of a server with a predictor and a feeder process for its runs."""
    environment = {**os.environ, "TRACKSIDE_HOME": str(home)}
    port = free_port("127.0.0.1")
    address = f"http://127.0.0.1:{port}"
    subprocess.run([sys.executable, "-m", "app.cli", "reindex"], env=environment, check=True, capture_output=True)
    serve = [sys.executable, "-m", "app.cli", "serve", "--port", str(port), "--workers", "0"]
    rate = str(load.values / EVENT_VALUES)
    feed = [sys.executable, "-m", "tests.benchmarks.feeder", str(home), str(load.runs), rate]
    server = subprocess.Popen(serve, env=environment, start_new_session=True)
    feeder = None
    try:
        until(lambda: answers(f"{address}/healthz"))
        feeder = subprocess.Popen(feed, env=environment, stdout=subprocess.PIPE)
        assert feeder.stdout is not None
        assert feeder.stdout.readline() == b"fed\n"
        yield address, children_with("web", server.pid)[0]
    finally:
        if feeder is not None:
            feeder.kill()
            feeder.communicate()
        server.send_signal(signal.SIGTERM)
        server.wait(60)


def open_pages(address: str, load: Load) -> tuple[list[float], int]:
    """Request pages sequentially; return the latency of each in ms and the number of failures.

    Runs in a separate process, so that reading a thousand streams does not delay it.
    """
    found, failed = [], 0
    with httpx.Client(base_url=address, timeout=60) as client:
        started = time.monotonic()
        for number in range(int(load.pages * load.seconds)):
            time.sleep(max(0.0, started + number / load.pages - time.monotonic()))
            began = time.perf_counter()
            answer = client.get(("/", f"/runs/live{number % load.runs}")[number % 2])
            found.append(1000 * (time.perf_counter() - began))
            failed += answer.status_code != 200
    return found, failed


class _Watch:
    def __init__(self, address: str, web: psutil.Process, load: Load) -> None:
        self.address, self.web, self.load = address, web, load
        self.found = Found()
        self.ended = False
        self.told = [0] * load.streams

    async def all(self) -> Found:
        with ProcessPoolExecutor(1, get_context("spawn")) as apart:
            return await self._all(apart)

    async def _all(self, apart: ProcessPoolExecutor) -> Found:
        load = self.load
        limits = httpx.Limits(max_connections=50)
        streams = [asyncio.create_task(self._stream(number)) for number in range(load.streams)]
        async with httpx.AsyncClient(base_url=self.address, timeout=60, limits=limits) as client:
            deadline = time.monotonic() + 60
            while not all(self.told):
                assert time.monotonic() < deadline, "some stream was never told of anything"
                await asyncio.sleep(0.1)
            await client.get("/")
            await self._predict(client, encode(random_image(0)))
            self.found = Found(values=0)
            before, started = sum(self.web.cpu_times()[:2]), time.monotonic()
            pages = asyncio.get_running_loop().run_in_executor(apart, open_pages, self.address, load)
            work = [
                asyncio.create_task(
                    self._steadily(load.predictions, lambda n: self._predict(client, encode(random_image(n % 50))))
                ),
                asyncio.create_task(self._weigh()),
            ]
            await asyncio.sleep(load.seconds)
            self.ended = True
            self.found.busy = (sum(self.web.cpu_times()[:2]) - before) / (time.monotonic() - started)
            await asyncio.gather(*work)
            self.found.pages, failed = await pages
            self.found.failed += failed
            for stream in streams:
                stream.cancel()
            ends = await asyncio.gather(*streams, return_exceptions=True)
            self.found.failed += sum(end is not None and not isinstance(end, asyncio.CancelledError) for end in ends)
        return self.found

    async def _stream(self, number: int) -> None:
        """Read a run's stream and count the steps that are missing in it."""
        host, port = self.address.removeprefix("http://").split(":")
        run = f"live{number % self.load.runs}"
        reader, writer = await asyncio.open_connection(host, int(port), limit=1 << 20)
        try:
            writer.write(f"GET /api/events?runs={run} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
            last = None
            while True:
                frame = await reader.readuntil(b"\n\n")
                if b"event: resync" in frame:
                    self.found.late += 1
                if b"event: metrics" not in frame:
                    continue
                data = frame[frame.index(b"data: ") + 6 :]
                for step in orjson.loads(data)["series"]["train/loss"]["step"]:
                    if last is not None and step != last + 1:
                        self.found.lost += abs(step - last - 1)
                    last = step
                    self.told[number] = step
                    self.found.values += EVENT_VALUES
        finally:
            writer.close()

    async def _steadily(self, rate: float, act: object) -> None:
        """Start `act` `rate` times per second without waiting for the previous calls (open loop)."""
        started, number, acts = time.monotonic(), 0, []
        while not self.ended:
            acts.append(asyncio.create_task(act(number)))  # type: ignore[operator]
            number += 1
            await asyncio.sleep(max(0.0, started + number / rate - time.monotonic()))
        await asyncio.gather(*acts)

    async def _predict(self, client: httpx.AsyncClient, image: bytes) -> None:
        files = {"file": ("image.png", image, "image/png")}
        await self._timed(self.found.predictions, client.post("/api/predict", params={"model": MODEL}, files=files))

    async def _timed(self, into: list[float], request: object) -> None:
        started = time.perf_counter()
        answer: httpx.Response = await request  # type: ignore[misc]
        into.append(1000 * (time.perf_counter() - started))
        self.found.failed += answer.status_code != 200

    async def _weigh(self) -> None:
        await asyncio.sleep(self.load.seconds / 4)
        while not self.ended:
            self.found.sizes.append(self.web.memory_info().rss)
            await asyncio.sleep(0.5)
