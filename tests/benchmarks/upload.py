"""A zip of 5 GB, chosen on the Data page, while the web process is killed ten times; then its import."""

from __future__ import annotations

import random
import tempfile
import time
import zipfile
from functools import partial
from pathlib import Path

import httpx
import numpy as np
import psutil
from PIL import Image
from playwright.sync_api import Page, sync_playwright

from tests.benchmarks.rows import Row
from tests.browser.conftest import ARGUMENTS
from tests.browser.find_browser import installed
from tests.conftest import Server, new_server, wait_for

KILLS = 10
BYTES = 5 * 10**9
CLASSES = 5
SIDE = 1500  # pixels: 6.7 MB of noise as PNG
DISTINCT = 8


def measure() -> list[Row]:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        images = make_zip(folder / "noise.zip")
        (folder / "datasets").mkdir()
        server = new_server(folder / "home", folder / "datasets")
        try:
            server.spawn("web", "worker")
            server.wait_web()
            with sync_playwright() as playwright:
                chromium = playwright.chromium.launch(executable_path=installed(), args=ARGUMENTS)
                seconds, peak = sent(server, chromium.new_page(), folder / "noise.zip")
                chromium.close()
            record = imported(server)
        finally:
            server.close()
    found = record["train_count"] + record["test_count"]
    return [
        Row(
            f"a zip of {BYTES / 1e9:.0f} GB sent by the Data page, the web process killed {KILLS} times",
            "complete",
            f"{found} of {images} images imported; sent in {seconds:.0f} s, web process at most {peak / 1e6:.0f} MB",
            found == images,
        )
    ]


def make_zip(path: Path) -> int:
    """Write at least BYTES of images; return their number. All files differ, by a text chunk at the end of each."""
    draws = np.random.default_rng(0)
    pictures = []
    for number in range(DISTINCT):
        Image.fromarray(draws.integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8)).save(
            file := path.with_name(f"{number}.png"), compress_level=0
        )
        pictures.append(file.read_bytes())
    count = -(-BYTES // len(pictures[0]))
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED, allowZip64=True) as archive:
        for number in range(count):
            data = pictures[number % DISTINCT]
            archive.writestr(f"{number % CLASSES}/{number}.png", data + number.to_bytes(4, "big"))
    return count


def sent(server: Server, page: Page, path: Path) -> tuple[float, int]:
    """Send the zip; return the seconds that it took, and the most memory of a web process in bytes."""
    page.goto(f"{server.url}/datasets")
    page.locator("[data-zip]").set_input_files(path)
    page.locator("[data-upload] input[name=size]").fill("64")
    page.locator("[data-stage-classes] li").nth(CLASSES - 1).wait_for(timeout=120_000)
    page.locator("[data-upload] [data-add]").click()
    began, peak = time.monotonic(), 0
    part = server.settings.uploads / "kept"
    draws = random.Random(0)

    def arrived(least: int = 0) -> bool:
        nonlocal peak
        peak = max(peak, psutil.Process(server.processes["web"].pid).memory_info().rss)
        return sum(file.stat().st_size for file in part.glob("*.part")) >= least

    for kill in range(KILLS):
        limit = int((kill + draws.random()) * path.stat().st_size / (KILLS + 1))
        wait_for(partial(arrived, limit), 600, f"byte {limit:,}")
        server.kill("web")
        server.spawn("web")
        server.wait_web()
    with server.client() as client:
        wait_for(lambda: arrived() and client.get("/api/tasks").json(), 600, "the import")
    return time.monotonic() - began, peak


def imported(server: Server) -> dict[str, int]:
    with server.client() as client:

        def ended() -> bool:
            try:
                return client.get("/api/tasks").json()[0]["status"] in ("finished", "failed")
            except httpx.TransportError:
                return False

        wait_for(ended, 1800, "the import's end")
        record: dict[str, int] = client.get("/api/datasets/noise").raise_for_status().json()
    return record
