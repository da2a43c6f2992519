"""Points: whatever the batches, what is read is what was written."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlmodel import Session, select

from app.db import Database
from app.metrics import BLOCK, Metrics, Points, SeriesWriter, extremes
from app.tables import Chunk, Point, Run


@contextmanager
def fresh() -> Iterator[tuple[Database, int]]:
    with tempfile.TemporaryDirectory() as folder:
        database = Database(f"sqlite:///{folder}/t.db")
        database.migrate()
        run = Run(id="run", name="r", dataset="d", model="cnn", spec={})
        with database.write() as session:
            session.add(run)
        yield database, run.key or 0
        database.close()


def points(first: int, count: int, offset: float = 0.0) -> Points:
    steps = np.arange(first, first + count)
    return Points(steps, (steps + offset).astype(np.float64), (steps / 10).astype(np.float64))


def write(session: Session, run: int, batch: Points, name: str = "train/loss") -> None:
    SeriesWriter(session, run).add(name, batch)


def read(database: Database, **asked: Any) -> dict[str, Any]:
    series: dict[str, Any] = Metrics(database).read("run", None, **asked)["series"]
    found: dict[str, Any] = series.get("train/loss", {"step": [], "value": [], "total": 0})
    return found


@settings(max_examples=12, deadline=None)
@given(st.lists(st.integers(1, 1500), min_size=1, max_size=5), st.data())
def test_any_batches_and_any_trim(sizes: list[int], data: st.DataObject) -> None:
    total = sum(sizes)
    cut = data.draw(st.integers(0, total))
    with fresh() as (database, run):
        first = 1
        for size in sizes:
            with database.write() as session:
                write(session, run, points(first, size))
            first += size
        found = read(database, points=100_000)
        assert found["step"] == list(range(1, total + 1))
        assert found["value"] == [float(step) for step in found["step"]]
        assert found["total"] == total
        with database.write() as session:
            SeriesWriter(session, run).trim(cut)
        assert read(database, points=100_000)["step"] == list(range(1, cut + 1))
        with database.write() as session:
            write(session, run, points(cut + 1, 50, offset=0.5))
        again = read(database, points=100_000)
        assert again["step"] == list(range(1, cut + 51))
        assert again["total"] == cut + 50
        assert again["value"][cut:] == [step + 0.5 for step in range(cut + 1, cut + 51)]


def test_a_step_written_twice_has_the_later_value() -> None:
    with fresh() as (database, run):
        for batch in (points(1, BLOCK + 10), points(BLOCK - 5, 20, offset=0.25)):
            with database.write() as session:
                write(session, run, batch)
        found = read(database, points=100_000)
        assert found["step"] == list(range(1, BLOCK + 15))
        assert found["total"] == BLOCK + 14
        assert found["value"][BLOCK - 7 : BLOCK - 4] == [BLOCK - 6, BLOCK - 5 + 0.25, BLOCK - 4 + 0.25]


def test_full_blocks_are_packed_and_the_tail_stays_short() -> None:
    with fresh() as (database, run):
        for first in range(1, 3 * BLOCK, 100):
            with database.write() as session:
                write(session, run, points(first, 100))
        with database.read() as session:
            chunks = session.exec(select(Chunk)).all()
            tail = session.exec(select(Point)).all()
        assert [chunk.number for chunk in chunks] == [0, 1, 2]
        assert len(tail) < BLOCK
        assert sum(chunk.count for chunk in chunks) + len(tail) == read(database)["total"]


@pytest.mark.parametrize("count", [10, 5000])
def test_values_that_are_no_numbers_are_named(count: int) -> None:
    batch = points(1, count)
    batch.values[3], batch.values[5] = math.nan, -math.inf
    with fresh() as (database, run):
        with database.write() as session:
            write(session, run, batch)
        found = read(database, points=100)
        assert found["nonfinite"] == [{"step": 4, "kind": "NaN"}, {"step": 6, "kind": "-Infinity"}]
        assert found["value"][found["step"].index(4)] is None


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=400), st.integers(1, 40))
def test_down_sampling_keeps_each_buckets_extremes_and_the_last(values: list[float], buckets: int) -> None:
    array = np.array(values)
    steps = np.arange(len(array))
    kept = extremes(Points(steps, array, steps.astype(float)), buckets)
    assert kept.steps[-1] == steps[-1]
    assert kept.values.max() == array.max()
    assert kept.values.min() == array.min()
    assert len(kept) <= max(2 * buckets + 1, 1) or len(array) <= 2 * buckets
    assert np.all(np.diff(kept.steps) > 0)


def test_a_spike_survives_in_a_long_series() -> None:
    batch = points(1, 200_000)
    batch.values[:] = 1.0
    batch.values[123_456] = 99.0
    with fresh() as (database, run):
        with database.write() as session:
            write(session, run, batch)
        found = read(database, points=500)
        assert len(found["step"]) <= 600
        assert max(found["value"]) == 99.0
        assert found["total"] == 200_000
        assert read(database, points=500, after_step=199_990)["step"] == list(range(199_991, 200_001))
