"""A node in a network namespace: how soon a run starts there, how late its events come home, what it costs idle."""

from __future__ import annotations

import asyncio
import tempfile
import threading
import time
from collections.abc import Iterator
from functools import partial
from itertools import pairwise
from pathlib import Path

import orjson
import psutil
from playwright.sync_api import sync_playwright

from app.settings import Settings
from app.storage.db import Database
from app.supervisor import free_port
from tests.benchmarks.live import watch
from tests.benchmarks.rows import Row, data_root, percentile
from tests.browser.conftest import ARGUMENTS
from tests.browser.find_browser import installed
from tests.cluster.machines import CAN_ISOLATE, Machine, network, serving
from tests.cluster.test_cluster import metrics_of, wait_joined
from tests.conftest import NARROW, Server, wait_for

CHART = "document.querySelector('[data-chart=loss]')"
# Whenever the curve is drawn: the time, and of how many points.
NOTE_DRAWN = f"""() => {{
  const chart = {CHART};
  const note = () => window.drawn.push([Date.now() / 1000, Number(chart.dataset.pointsTrain)]);
  window.drawn = [];
  note();
  new MutationObserver(note).observe(chart, {{ attributes: true, attributeFilter: ["data-points-train"] }});
}}"""
DRAWN = 60  # redraws of the curve that are measured
RUNS = 9
IDLE_SECONDS = 30.0
EVENTS = 1500


def measure() -> Iterator[Row]:
    """Needs root."""
    if not CAN_ISOLATE:
        return
    with tempfile.TemporaryDirectory() as name:
        folder, home = Path(name), Path(name) / "home"
        home.mkdir()
        (home / "datasets").symlink_to(data_root().resolve())
        settings = Settings(home=home, port=free_port("127.0.0.1"))
        database = Database(settings.url)
        database.migrate()
        database.close()
        server = Server(home, settings)
        with network(folder, home) as lan, serving(server, lan):
            machine = lan.machine("a")
            machine.join()
            wait_joined(server, "a/cpu")
            yield idle(machine)
            yield from shipped(server)
            yield start(server)
            yield delay(server)
            yield from seen(server)


def idle(machine: Machine) -> Row:
    """Without the fork server, which a worker of the home has too."""
    threading.Event().wait(20)  # until torch is loaded
    processes = [psutil.Process(machine.pid), *psutil.Process(machine.pid).children(recursive=True)]
    processes = [one for one in processes if "forkserver" not in " ".join(one.cmdline())]
    memory = sum(one.memory_full_info().pss for one in processes)
    before = sum(sum(one.cpu_times()[:2]) for one in processes)
    threading.Event().wait(IDLE_SECONDS)
    used = (sum(sum(one.cpu_times()[:2]) for one in processes) - before) / IDLE_SECONDS
    passed = memory <= 150e6 and used <= 0.01
    text = f"{memory / 1e6:.0f} MB (PSS) in {len(processes)} processes, {100 * used:.1f}% of a core"
    return Row("a node that is idle, without its fork server", "≤ 150 MB, ≤ 1% of a core", text, passed)


def shipped(server: Server) -> Iterator[Row]:
    """From the launch to the fork of the trainer: with 185 MB to send, and with nothing."""
    for what, mark, most in (("185 MB", "≤ 5 s", 5.0), ("a dataset that is there", "at once", 1.0)):
        began = time.monotonic()
        run_id = server.launch(dataset="cifar100", overrides={**NARROW, "max_steps": 5})
        wait_for(partial(is_begun, server, run_id), 120, "the trainer")
        took = time.monotonic() - began
        server.wait_status(run_id, "finished", seconds=300)
        yield Row(f"launch → trainer forked on the node, {what} to send", mark, f"{took:.2f} s", took <= most)


def is_begun(server: Server, run_id: str) -> bool:
    return server.run(run_id)["phase"] not in (None, "claimed")


def has_point(events: Path) -> bool:
    return events.exists() and b'"metrics"' in events.read_bytes()


def start(server: Server) -> Row:
    found = []
    for _ in range(RUNS):
        began = time.monotonic()
        run_id = server.launch(overrides={**NARROW, "max_steps": 20})
        events = server.settings.runs / run_id / "events" / "1.jsonl"
        wait_for(partial(has_point, events), 60, "the first point")
        found.append(time.monotonic() - began)
        server.wait_status(run_id, "finished")
    found.sort()
    median = found[len(found) // 2]
    text = f"{1000 * median:.0f} ms (median of {RUNS}, at most {1000 * found[-1]:.0f})"
    return Row("launch → first point at home, warm node", "≤ 500 ms", text, median <= 0.5)


def delay(server: Server) -> Row:
    """How old an event is when it is in the file at home: by the clock of this machine, which both share."""
    run_id = server.launch(overrides={**NARROW, "epochs": 60, "log_every": 1})
    events = server.settings.runs / run_id / "events" / "1.jsonl"
    wait_for(events.exists, 60, "the events")
    ages: list[float] = []
    with events.open("rb") as file:
        while len(ages) < EVENTS:
            line = file.readline()
            if not line.endswith(b"\n"):
                file.seek(-len(line), 1)
                time.sleep(0.0005)
                continue
            if b'"metrics"' in line:
                ages.append(time.time() - orjson.loads(line)["t"])
    server.stop_run(run_id)
    ages.sort()
    p50, p95 = (1000 * ages[int(len(ages) * share)] for share in (0.5, 0.95))
    text = f"p50 {p50:.1f} ms, p95 {p95:.1f} ms, at most {1000 * ages[-1]:.0f} ms ({EVENTS} events)"
    return Row("event on the node → file at home", "p95 ≤ 50 ms", text, p95 <= 50)


def seen(server: Server) -> Iterator[Row]:
    """How old a value is when a client receives it, and when an open page has drawn it."""
    run_id = server.launch(overrides={"log_every": 1})
    server.wait_step(run_id, 5)
    yield seen_row("emit on a node → SSE client", asyncio.run(watch(server.url, run_id, 1)))
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=installed(), args=ARGUMENTS)
        page = chromium.new_page()
        page.goto(f"{server.url}/runs/{run_id}")
        page.wait_for_function(f"() => Number({CHART}?.dataset.pointsTrain ?? 0) > 0")
        page.evaluate(NOTE_DRAWN)
        page.wait_for_function(f"() => window.drawn.length > {DRAWN}", timeout=240_000)
        drawn: list[tuple[float, int]] = page.evaluate("window.drawn")
        chromium.close()
    times = [point["t"] for point in metrics_of(server.settings.runs / run_id)]
    server.stop_run(run_id)
    ages = [at - times[index] for (_, before), (at, count) in pairwise(drawn) for index in range(before, count)]
    yield seen_row("emit on a node → drawn in a browser", ages)


def seen_row(what: str, ages: list[float]) -> Row:
    p50, p95 = 1000 * percentile(ages, 0.5), 1000 * percentile(ages, 0.95)
    return Row(what, "p95 ≤ 300 ms", f"p50 {p50:.0f} ms, p95 {p95:.0f} ms ({len(ages):,} values)", p95 <= 300)


if __name__ == "__main__":
    for row in measure():
        print(f"{row.what}: {row.measured}", flush=True)
