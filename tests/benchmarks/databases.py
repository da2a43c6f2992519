"""SQLite and PostgreSQL side by side: ingest, the live feed, pages, and what an idle server costs."""

from __future__ import annotations

import asyncio
import shutil
import sqlite3
import statistics
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import psutil

from app.storage.db import Database
from app.storage.tables import Run, Status
from app.supervisor import free_port
from tests.benchmarks.ingest import ingested, write_events
from tests.benchmarks.live import training, watch
from tests.benchmarks.rows import Row, data_root, percentile, served, web_process
from tests.benchmarks.scale import add_run, add_runs, milliseconds, write
from tests.postgres import PROGRAMS, Postgres, postgres
from tests.processes import children_with
from trainer.rundir.events import EventWriter

STEPS = 100_000
SCALARS = 4
LINES = 200
ROUNDS = 3
RUNS = 2_000
POINTS = 1_000_000
IDLE_SECONDS = 30.0
PAGES = {
    "the list": "/",
    "a search": "/?q=lr%3C0.001+val/acc%3E%3D70%25+-tag:a",
    "the list in groups": "/?group_by=group&sort=-val/acc&cols=best,val/acc,test/acc",
    "1,000 of a million points": "/api/runs/long/metrics?series=train/loss&points=1000",
}


def measure() -> list[Row]:
    if not all(map(shutil.which, PROGRAMS)):
        return []
    with postgres() as server:
        rows = [*_ingest(server), *_pages(server)]
        for name, url in (("SQLite", None), (_version(), server.new_database())):
            rows += _served(name, url, server)
    return rows


def _version() -> str:
    said = subprocess.run(["postgres", "--version"], capture_output=True, text=True, check=True).stdout
    return f"PostgreSQL {said.split()[2]}"


def _both(server: Postgres, folder: Path) -> dict[str, str]:
    return {f"SQLite {sqlite3.sqlite_version}": f"sqlite:///{folder}/b.db", _version(): server.new_database()}


def _ingest(server: Postgres) -> Iterator[Row]:
    """By turns, as the machine is shared."""
    with tempfile.TemporaryDirectory() as folder:
        urls = _both(server, Path(folder))
        rates: dict[str, list[float]] = {name: [] for name in urls}
        lines: dict[str, list[float]] = {name: [] for name in urls}
        for number in range(ROUNDS):
            for name, url in urls.items():
                with _database(url) as database:
                    run_dir = Path(folder) / f"{number} {name}"
                    rates[name].append(STEPS * SCALARS / _seconds(database, run_dir, number))
                    lines[name] += _line_by_line(database, run_dir, number)
    for name in urls:
        rate, delays = statistics.median(rates[name]), lines[name]
        p50, p95 = 1000 * percentile(delays, 0.5), 1000 * percentile(delays, 0.95)
        shown = f"{rate:,.0f} scalars/s; an event of {SCALARS} scalars by itself p50 {p50:.1f} ms, p95 {p95:.1f} ms"
        yield Row(f"{name}: event file → committed rows", "", shown, None)


@contextmanager
def _database(url: str) -> Iterator[Database]:
    database = Database(url)
    database.migrate()
    yield database
    database.close()


def _seconds(database: Database, run_dir: Path, number: int) -> float:
    run_dir.mkdir()
    write_events(run_dir, STEPS)
    run = _run(f"bulk {number}")
    with database.write() as session:
        session.add(run)
    started = time.perf_counter()
    ingested(database, run, run_dir)
    return time.perf_counter() - started


def _line_by_line(database: Database, run_dir: Path, number: int) -> list[float]:
    run_dir = run_dir / "lines"
    run_dir.mkdir()
    write_events(run_dir, 10)
    run = _run(f"lines {number}")
    with database.write() as session:
        session.add(run)
    ingested(database, run, run_dir)
    events, took = EventWriter(run_dir, 1), []
    for step in range(11, 11 + LINES):
        started = time.perf_counter()
        events.metrics(step, {"train/loss": 4.6 / step, "train/acc": 0.5, "lr": 1e-3, "throughput": 1234.5})
        ingested(database, run, run_dir)
        took.append(time.perf_counter() - started)
    events.close()
    return took


def _run(name: str) -> Run:
    spec = {"batch_size": 64}
    return Run(id=name, name=name, dataset="d", model="cnn", spec=spec, attempt=1, claim=1, status=Status.RUNNING)


def _pages(server: Postgres) -> Iterator[Row]:
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "datasets").symlink_to(data_root().resolve())
        for name, url in _both(server, Path(folder)).items():
            with _database(url) as database:
                add_runs(database, RUNS)
                write(database, add_run(database, "long"), "train/loss", POINTS)
            with (
                web_process(Path(folder), free_port("127.0.0.1"), TRACKSIDE_DATABASE_URL=url) as address,
                httpx.Client(base_url=address, timeout=60) as client,
            ):
                took = ", ".join(f"{what} {milliseconds(client, path):.0f} ms" for what, path in PAGES.items())
            yield Row(f"{name}: answers with {RUNS:,} runs (medians, warm)", "", took, None)


def _served(name: str, url: str | None, server: Postgres) -> Iterator[Row]:
    """The live feed of a real run, then what the idle server costs."""
    environment = {} if url is None else {"TRACKSIDE_DATABASE_URL": url}
    with served(environment=environment) as address, httpx.Client(base_url=address, timeout=30) as client:
        with training(client) as run_id:
            delays = asyncio.run(watch(address, run_id, 1))
        p50, p95 = 1000 * percentile(delays, 0.5), 1000 * percentile(delays, 0.95)
        shown = f"p50 {p50:.0f} ms, p95 {p95:.0f} ms ({len(delays):,} values)"
        yield Row(f"{name}: emit → SSE client, 1 viewer", "", shown, None)
        yield Row(f"{name}: processor time while idle, in % of a core", "", _idle(url is not None, server), None)


def _idle(on_postgres: bool, server: Postgres) -> str:
    groups = {name: children_with(name, recursive=True) for name in ("web", "worker")}
    if on_postgres:
        main = int((server.data / "postmaster.pid").read_text().split()[0])
        groups["PostgreSQL"] = [psutil.Process(main), *psutil.Process(main).children()]
    before = {name: _spent(group) for name, group in groups.items()}
    time.sleep(IDLE_SECONDS)
    return ", ".join(f"{name} {100 * (_spent(groups[name]) - before[name]) / IDLE_SECONDS:.1f}" for name in groups)


def _spent(processes: list[psutil.Process]) -> float:
    return sum(sum(process.cpu_times()[:2]) for process in processes if process.is_running())
