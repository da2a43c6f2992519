"""Predictions while attacked: honest clients predict without pause while others send the slowest images there are.

All have the same address, as behind a proxy. tests/benchmarks/test_smoke.py runs a smaller load.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import psutil

from app.supervisor import free_port
from tests.app.predictor.predict_home import encode, make_dataset, make_run, random_image
from tests.app.predictor.slow_images import slow_jpeg, slow_webp
from tests.benchmarks.rows import Row, answers, percentile, until

MODEL = "a77ac4ed00"
BOUNDARY = "a-boundary-of-the-benchmark"
IMAGES = 64  # in an attacker's request: the most that is taken
SCANS = 32  # of a JPEG of 49 million pixels: the most that is taken
REFUSED_SCANS = 1000
HANG_UP_SECONDS = 2.0
P99_MS = 1000.0
# In MiB. Decoders: one slow image, limited to 1,536 MiB of address space, and one fast image.
STATED = {"web": 300, "predictor": 900, "decoders": 2000}


@dataclass(frozen=True)
class Attack:
    clients: int = 64
    attackers: int = 4
    seconds: float = 60.0


@dataclass
class Found:
    """The results of an attack.

    `latencies` are those of the honest clients' predictions in ms, and `statuses` counts their responses. `memory` has
    the largest memory seen in MiB, shared pages divided among their processes; `decoders` is their largest number.
    """

    latencies: list[float] = field(default_factory=list)
    statuses: Counter[int] = field(default_factory=Counter)
    wrong: int = 0
    attacks: Counter[str] = field(default_factory=Counter)
    memory: dict[str, float] = field(default_factory=lambda: dict.fromkeys(STATED, 0.0))
    decoders: int = 0

    @property
    def refused(self) -> int:
        return self.statuses.total() - self.statuses[200]

    @property
    def is_within_memory(self) -> bool:
        return self.decoders <= 2 and all(self.memory[name] <= limit for name, limit in STATED.items())


def measure() -> list[Row]:
    attack = Attack()
    found = under(attack)
    what = f"{attack.clients} clients predict, {attack.attackers} others send the slowest images, {attack.seconds:g} s"
    p50, p99 = (percentile(found.latencies, share) for share in (0.5, 0.99))
    memory = ", ".join(f"{name} {size:.0f} MiB" for name, size in found.memory.items())
    stated = ", ".join(f"{name} ≤ {limit:,} MiB" for name, limit in STATED.items())
    return [
        Row(
            f"{what}: answers",
            "p99 < 1 s, none refused",
            f"p50 {p50:.0f} ms, p99 {p99:.0f} ms of {found.statuses[200]:,}; {found.refused} refused, "
            f"{found.wrong} wrong",
            p99 < P99_MS and not found.refused and not found.wrong,
        ),
        Row(f"{what}: memory", f"{stated}; ≤ 2 decoders", f"{memory}; {found.decoders}", found.is_within_memory),
    ]


def under(attack: Attack) -> Found:
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        make_dataset(home)
        make_run(home, MODEL)
        environment = {**os.environ, "TRACKSIDE_HOME": str(home)}
        port = free_port("127.0.0.1")
        subprocess.run([sys.executable, "-m", "app.cli", "reindex"], env=environment, check=True, capture_output=True)
        serve = [sys.executable, "-m", "app.cli", "serve", "--port", str(port), "--workers", "0"]
        server = subprocess.Popen(serve, env=environment, start_new_session=True)
        try:
            until(lambda: answers(f"http://127.0.0.1:{port}/healthz"))
            return _attacked(port, psutil.Process(server.pid), attack)
        finally:
            server.terminate()
            server.wait(60)


def _attacked(port: int, server: psutil.Process, attack: Attack) -> Found:
    found, ended = Found(), threading.Event()
    attacks = _attacks(f"http://127.0.0.1:{port}")
    with ThreadPoolExecutor(attack.attackers + 1) as pool:
        asyncio.run(_predict(port, Found(), attack, time.monotonic()))  # loads the model
        threads = [pool.submit(_weigh, server, found, ended)]
        for number in range(attack.attackers):
            name = list(attacks)[number % len(attacks)]
            threads.append(pool.submit(_repeat, name, attacks[name], found, ended))
        try:
            asyncio.run(_predict(port, found, attack, time.monotonic() + attack.seconds))
        finally:
            ended.set()
        for thread in threads:
            thread.result()
    return found


def _attacks(address: str) -> dict[str, Callable[[], str]]:
    webps = [slow_webp()] * IMAGES
    jpegs = [slow_jpeg(SCANS)]
    refused = [slow_jpeg(REFUSED_SCANS)]

    def post(images: list[bytes], seconds: float) -> str:
        files = [("file", ("a", image)) for image in images]
        try:
            answer = httpx.post(f"{address}/api/predict", params={"model": MODEL}, files=files, timeout=seconds)
        except httpx.ReadTimeout:
            return "hung up"
        return str(answer.status_code)

    return {
        "WebP × 64": lambda: post(webps, 20),
        "WebP × 64, hanging up": lambda: post(webps, HANG_UP_SECONDS),
        f"JPEG of {SCANS} scans": lambda: post(jpegs, 20),
        f"JPEG of {REFUSED_SCANS} scans": lambda: post(refused, 20),
    }


def _repeat(name: str, attack: Callable[[], str], found: Found, ended: threading.Event) -> None:
    while not ended.wait(0.01):
        found.attacks[f"{name}: {attack()}"] += 1


async def _predict(port: int, found: Found, attack: Attack, end: float) -> None:
    """Predict with all honest clients until `end`, each at least once. Every response is compared with a first one."""
    image = encode(random_image(0))
    head = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="file"; filename="a.png"\r\n\r\n'.encode()
    body = head + image + f"\r\n--{BOUNDARY}--\r\n".encode()
    request = (
        f"POST /api/predict?model={MODEL} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: {len(body)}\r\n"
        f"Content-Type: multipart/form-data; boundary={BOUNDARY}\r\n\r\n"
    ).encode() + body

    async def client() -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        expected = b""
        while True:
            began = time.perf_counter()
            writer.write(request)
            header = await reader.readuntil(b"\r\n\r\n")
            length = int(header.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
            answer = await reader.readexactly(length)
            found.latencies.append(1000 * (time.perf_counter() - began))
            found.statuses[int(header[9:12])] += 1
            label = answer.partition(b'"label":')[2].partition(b",")[0]
            found.wrong += bool(expected) and label != expected
            expected = expected or label
            if time.monotonic() >= end:
                break
        writer.close()
        await writer.wait_closed()

    await asyncio.gather(*(client() for _ in range(attack.clients)))


def _weigh(server: psutil.Process, found: Found, ended: threading.Event) -> None:
    """Sample the memory of the processes by kind."""
    while not ended.wait(0.2):
        sizes = dict.fromkeys(STATED, 0.0)
        decoders = 0
        for process in server.children(recursive=True):
            with suppress(psutil.Error):
                if (kind := _kind(process)) is not None:
                    sizes[kind] += process.memory_full_info().pss / 2**20
                    parent = process.parent()
                    decoders += kind == "decoders" and parent is not None and _kind(parent) == "decoders"
        found.decoders = max(found.decoders, decoders)
        found.memory = {name: max(size, sizes[name]) for name, size in found.memory.items()}


def _kind(process: psutil.Process) -> str | None:
    words = process.cmdline()
    if "app.predictor.decoder" in words:
        return "decoders"
    return "predictor" if "app.predictor" in words else "web" if "web" in words else None
