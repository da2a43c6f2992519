"""Many viewers of many live runs: CPU time of the web process, and memory of a browser over time."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
from playwright.sync_api import sync_playwright

from app.settings import Settings
from app.storage.db import Database
from app.supervisor import free_port
from tests.benchmarks.rows import Row, data_root, web_process
from tests.browser.conftest import ARGUMENTS
from tests.browser.find_browser import installed
from tests.processes import children_with

VIEWERS, RUNS = 100, 10
RATE = 4.0  # events per second and run, with six values each
SECONDS = 30.0
BROWSER_MINUTES, BROWSER_FACTOR = 10, 10
SAMPLE_SECONDS = 3
MAX_GROWTH = 0.1


def measure() -> list[Row]:
    return [of_the_server(), of_a_browser()]


@contextmanager
def live_runs(runs: int, rate: float) -> Iterator[str]:
    """Yield the address of a web process; another process emits values for its runs."""
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        (home / "datasets").symlink_to(data_root().resolve())
        database = Database(Settings(home=home).url)
        database.migrate()
        database.close()
        with web_process(home, free_port("127.0.0.1")) as address:
            feeder = subprocess.Popen(
                [sys.executable, "-m", "tests.benchmarks.feeder", folder, str(runs), str(rate)],
                stdout=subprocess.PIPE,
                env={**os.environ, "TRACKSIDE_HOME": folder},
            )
            try:
                assert feeder.stdout is not None
                assert feeder.stdout.readline() == b"fed\n"
                yield address
            finally:
                feeder.kill()
                feeder.wait()


def of_the_server() -> Row:
    with live_runs(RUNS, RATE) as address:
        share, frames = asyncio.run(watched(address))
    return Row(
        f"{VIEWERS} viewers on {RUNS} live runs of {RATE:g} events a second each: web process",
        "≤ 25% of a core",
        f"{share:.0%} of a core ({frames / SECONDS:,.0f} frames a second sent)",
        share <= 0.25,
    )


async def watched(address: str) -> tuple[float, int]:
    """Return the web process's CPU time per second (in cores) and the number of frames that all viewers received."""
    web = children_with("web")[0]
    limits = httpx.Limits(max_connections=VIEWERS)
    async with httpx.AsyncClient(base_url=address, timeout=60, limits=limits) as client:
        frames = [0]
        viewers = [asyncio.create_task(view(client, f"live{index % RUNS}", frames)) for index in range(VIEWERS)]
        while frames[0] < VIEWERS:
            await asyncio.sleep(0.1)
        before, first = sum(web.cpu_times()[:2]), frames[0]
        await asyncio.sleep(SECONDS)
        spent, seen = sum(web.cpu_times()[:2]) - before, frames[0] - first
        for viewer in viewers:
            viewer.cancel()
        await asyncio.gather(*viewers, return_exceptions=True)
    return spent / SECONDS, seen


async def view(client: httpx.AsyncClient, run_id: str, frames: list[int]) -> None:
    async with client.stream("GET", "/api/events", params={"runs": run_id}) as answer:
        async for line in answer.aiter_lines():
            frames[0] += line.startswith("data: ")


def of_a_browser() -> Row:
    """Measure the JavaScript heap of an open run page after garbage collection.

    It rises until the page replaces its points with a downsampled series from the server, about once per minute. It is
    sampled often enough that both halves include their peaks.
    """
    with live_runs(1, RATE * BROWSER_FACTOR) as address, sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=installed(), args=ARGUMENTS)
        page = chromium.new_page(viewport={"width": 1440, "height": 900})
        page.goto(f"{address}/runs/live0")
        page.wait_for_function("() => Number(document.querySelector('[data-chart=loss]').dataset.pointsTrain) > 0")
        session = page.context.new_cdp_session(page)
        session.send("HeapProfiler.enable")
        heaps = []
        deadline = time.monotonic() + 60 * BROWSER_MINUTES
        while time.monotonic() < deadline:
            page.wait_for_timeout(1000 * SAMPLE_SECONDS)
            session.send("HeapProfiler.collectGarbage")
            heaps.append(int(page.evaluate("performance.memory.usedJSHeapSize")) / 2**20)
        points = int(page.locator("[data-chart=loss]").get_attribute("data-points-train") or 0)
        chromium.close()
    half = len(heaps) // 2
    growth = max(heaps[half:]) / max(heaps[:half]) - 1
    return Row(
        f"a run page open for {BROWSER_MINUTES} minutes at {BROWSER_FACTOR} times the rate: JavaScript heap",
        "flat",
        f"at most {max(heaps[:half]):.1f} MB in the first half, {max(heaps[half:]):.1f} MB in the second, "
        f"{heaps[-1]:.1f} MB at the end ({points:,} points kept)",
        growth <= MAX_GROWTH,
    )
