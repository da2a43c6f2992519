"""Response times of the web process with long series and long lists."""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import httpx
import numpy as np
from playwright.sync_api import sync_playwright

from app.metrics.points import Points
from app.metrics.writer import SeriesWriter
from app.runs.run_fields import COLUMNS
from app.runs.values import add_values
from app.settings import Settings
from app.storage.db import Database
from app.storage.tables import Run, Status, now
from app.supervisor import free_port
from tests.benchmarks.rows import Row, data_root, web_process
from tests.browser.conftest import ARGUMENTS
from tests.browser.find_browser import installed
from trainer.spec.preset import build_spec

LENGTHS = {1_000_000: 50, 10_000_000: 150}  # number of points: maximum ms
RUNS = 10_000
CURVE = 500_000  # points of the run whose page is measured
TIMES = 9
BATCH = 200_000
NAMES = ("train/loss", "train/acc", "lr", "throughput", "grad/norm", "update/ratio")


def measure() -> list[Row]:
    with stored() as (database, address), httpx.Client(base_url=address, timeout=60) as client:
        return [*long_series(database, client), *long_list(database, client), run_page(database, address)]


@contextmanager
def stored() -> Iterator[tuple[Database, str]]:
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "datasets").symlink_to(data_root().resolve())
        database = Database(Settings(home=Path(folder)).url)
        database.migrate()
        with web_process(Path(folder), free_port("127.0.0.1")) as address:
            yield database, address
        database.close()


def long_series(database: Database, client: httpx.Client) -> Iterator[Row]:
    for length, most in LENGTHS.items():
        run = add_run(database, f"long{length}")
        write(database, run, "train/loss", length)
        took = milliseconds(client, f"/api/runs/long{length}/metrics?series=train/loss&points=1000")
        yield Row(
            f"a series of {length:,} points, 1,000 asked for",
            f"≤ {most} ms",
            f"{took:.0f} ms over HTTP (median of {TIMES}, warm)",
            took <= most,
        )


def long_list(database: Database, client: httpx.Client) -> Iterator[Row]:
    add_runs(database, RUNS)
    sorts = [
        f"/?sort={sign}{name}" for name in (*COLUMNS, "optimizer.lr", "model.name", "val/acc") for sign in ("", "-")
    ]
    filters = [
        "/", "/?status=failed", "/?dataset=other", "/?tag=a", "/?q=run+12", "/?group=g7", "/?model=swift&q=run",
        "/?q=lr%3C0.001", "/?q=-lr%3C0.001+val/acc%3E%3D70%25+status:failed,stopped+-tag:a",
        "/?q=lr:1e-3+run&sort=-val/loss",
    ]  # fmt: skip
    groupings = [f"/?group_by={name}" for name in ("group", "dataset", "optimizer.lr", "seed")]
    groupings += ["/?group_by=group&sort=-val/acc&cols=best,val/acc,val/loss,test/acc,parameters&open=g7&open=g8"]
    columns = [
        "/?cols=status,best,optimizer.lr,batch_size,val/acc,val/loss,test/acc,parameters,progress,started,tags,notes"
    ]
    columns += [columns[0] + "&q=val/acc%3E0.5&sort=optimizer.lr", columns[0] + "&group_by=optimizer.lr&open=0.0001"]
    for what, paths in (
        ("any sort", sorts),
        ("any filter", filters),
        ("any grouping", groupings),
        ("chosen columns", columns),
    ):
        slowest = max((milliseconds(client, path), path) for path in paths)
        yield Row(
            f"runs page with {RUNS:,} runs, {what}",
            "≤ 100 ms",
            f"{slowest[0]:.0f} ms over HTTP at worst ({slowest[1]})",
            slowest[0] <= 100,
        )


def add_runs(database: Database, count: int) -> None:
    rates = [1e-4, 3e-4, 1e-3, 3e-3, 1e-2]
    specs = [build_spec("shapes100", "baseline-cnn", {"optimizer.lr": rate}).model_dump(mode="json") for rate in rates]
    spark = {"step": [*range(48)], "train": [4.6 - i / 20 for i in range(48)], "val": [None] * 48}
    moment = now()
    with database.write() as session:
        for index in range(count):
            acc = index * 31 % 1000 / 1000
            run = Run(
                id=f"r{index:06d}", name=f"run {index * 7919 % count}", dataset=("shapes100", "other")[index % 2],
                model=("cnn", "mlp", "swift")[index % 3], preset="baseline-cnn", spec=specs[index % 5], spark=spark,
                tags=["a"] if index % 5 == 0 else [], group=f"g{index % 50}", best_acc=acc, val_count=400,
                summary={"val/acc": acc, "val/loss": 4 - acc, "test/acc": acc / 2, "parameters": 10_000 + index % 9},
                status=(Status.FINISHED, Status.FAILED, Status.STOPPED)[index % 7 % 3], total_steps=100,
                step=index % 100, created_at=moment - timedelta(minutes=index), finished_at=moment,
                started_at=moment - timedelta(minutes=index % 99),
            )  # fmt: skip
            session.add(run)
            session.flush()
            add_values(session, run)


def run_page(database: Database, address: str) -> Row:
    """Measure the time from opening a run's page with an empty cache to the first curve on its canvas."""
    run = add_run(database, "curves")
    for name in NAMES:
        write(database, run, name, CURVE)
    for name in ("val/loss", "val/acc"):
        write(database, run, name, CURVE // 700, every=700)
    drawn = "() => Number(document.querySelector('[data-chart=loss]')?.dataset.pointsTrain ?? 0) > 0"
    took = []
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=installed(), args=ARGUMENTS)
        for _ in range(TIMES):
            page = chromium.new_context(viewport={"width": 1440, "height": 900}).new_page()
            page.goto("about:blank")
            started = time.perf_counter()
            page.goto(f"{address}/runs/curves", wait_until="commit")
            page.wait_for_function(drawn, polling="raf")
            took.append(1000 * (time.perf_counter() - started))
            page.context.close()
        chromium.close()
    middle = statistics.median(took)
    return Row(
        f"run page of a run with {CURVE:,} points a series: first curve drawn, nothing cached",
        "≤ 500 ms",
        f"{middle:.0f} ms (median of {TIMES}; {min(took):.0f} to {max(took):.0f})",
        middle <= 500,
    )


def add_run(database: Database, run_id: str) -> int:
    spec = build_spec("shapes100", "baseline-cnn").model_dump(mode="json")
    run = Run(
        id=run_id, name=run_id, dataset="shapes100", model="cnn", preset="baseline-cnn", spec=spec,
        status=Status.FINISHED, step=CURVE, total_steps=CURVE, steps_per_epoch=700,
        epochs=CURVE // 700, epoch=CURVE // 700,
    )  # fmt: skip
    with database.write() as session:
        session.add(run)
    assert run.key is not None
    return run.key


def write(database: Database, run: int, name: str, count: int, every: int = 1) -> None:
    rng = np.random.default_rng(count)
    for first in range(1, count + 1, BATCH):
        steps = every * np.arange(first, min(first + BATCH, count + 1))
        values = 4.6 / np.log(steps + 2) + rng.normal(size=len(steps)) / 20
        with database.write(durable=False) as session:
            SeriesWriter(session, run).add(name, Points(steps, values, 1.7e9 + steps / 10))


def milliseconds(client: httpx.Client, path: str) -> float:
    client.get(path).raise_for_status()
    took = []
    for _ in range(TIMES):
        started = time.perf_counter()
        client.get(path).raise_for_status()
        took.append(1000 * (time.perf_counter() - started))
    return statistics.median(took)
