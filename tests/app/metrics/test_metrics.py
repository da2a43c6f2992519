"""Points: whatever the batches, what is read is what was written."""

from __future__ import annotations

import csv
import io
import math
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlmodel import Session, select

from app.metrics.downsample import extremes, width_for
from app.metrics.points import Points
from app.metrics.reader import Metrics
from app.metrics.writer import BLOCK, SeriesWriter
from app.storage.db import Database
from app.storage.tables import Chunk, Point, Run
from tests.databases import new_database


@contextmanager
def fresh() -> Iterator[tuple[Database, int]]:
    with tempfile.TemporaryDirectory() as folder:
        database = new_database(Path(folder) / "t.db")
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


@settings(max_examples=15, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 3000), st.integers(1, 1200)), min_size=1, max_size=5), st.data())
def test_any_overlapping_writes_are_as_a_dictionary(batches: list[tuple[int, int]], data: st.DataObject) -> None:
    """The model of a series: the last value of each step, whatever was packed, and a cut that takes what is past it."""
    cut = data.draw(st.integers(0, 4500))
    model: dict[int, float] = {}
    with fresh() as (database, run):
        for index, (first, count) in enumerate(batches):
            batch = points(first, count, offset=index / 10)
            with database.write() as session:
                write(session, run, batch)
            model |= dict(zip(batch.steps.tolist(), batch.values.tolist(), strict=True))
        for trimmed in (False, True):
            if trimmed:
                with database.write() as session:
                    past = SeriesWriter(session, run).trim(cut)
                assert past == any(step > cut for step in model)
                model = {step: value for step, value in model.items() if step <= cut}
            found = read(database, points=100_000)
            assert dict(zip(found["step"], found["value"], strict=True)) == model
            assert found["step"] == sorted(model)
            assert found["total"] == len(model)
            with database.read() as session:
                for chunk in session.exec(select(Chunk)).all():
                    block = Points.unpack(chunk.data)
                    assert len(block) == chunk.count == BLOCK
                    assert (block.steps[0], block.steps[-1]) == (chunk.first_step, chunk.last_step)
                assert len(session.exec(select(Point)).all()) < BLOCK


FLOATS = st.floats(allow_nan=True, allow_infinity=True)


@given(st.lists(FLOATS, min_size=1, max_size=300))
def test_a_block_is_unpacked_as_it_was_packed(values: list[float]) -> None:
    steps = np.arange(len(values))
    found = Points.unpack(Points(steps, np.array(values), steps / 3).pack())
    np.testing.assert_array_equal(found.values, np.array(values))
    np.testing.assert_array_equal(found.steps, steps)
    np.testing.assert_array_equal(found.times, steps / 3)


def points_of(values: list[float], gaps: list[int]) -> Points:
    steps = np.cumsum(np.resize(gaps, len(values)))
    return Points(steps, np.array(values), steps / 3)


SERIES = st.builds(
    points_of, st.lists(FLOATS, min_size=1, max_size=300), st.lists(st.integers(1, 9), min_size=1, max_size=5)
)
WIDTHS = st.integers(0, 9).map(lambda power: 1 << power)


@given(SERIES, WIDTHS)
def test_down_sampling_keeps_what_is_no_number_and_each_buckets_ends(series: Points, width: int) -> None:
    kept = extremes(series, width)
    finite = np.isfinite(series.values)
    assert set(series.steps[~finite]) <= set(kept.steps)
    assert kept.steps[-1] == series.steps[-1]
    assert np.all(np.diff(kept.steps) > 0)
    value_at = dict(zip(series.steps.tolist(), series.values.tolist(), strict=True))
    np.testing.assert_array_equal(kept.values, [value_at[step] for step in kept.steps.tolist()])
    for bucket in np.unique(series.steps // width):
        every = series.values[(series.steps // width == bucket) & finite]
        left = kept.values[(kept.steps // width == bucket) & np.isfinite(kept.values)]
        assert len(every) == 0 or (left.min(), left.max()) == (every.min(), every.max())
        assert len(left) <= 3  # with the very last point


@given(SERIES, WIDTHS, st.integers(0, 300))
def test_points_do_not_move_while_others_arrive(series: Points, width: int, known: int) -> None:
    before, after = extremes(series.take(slice(known)), width), extremes(series, width)
    full = before.steps[-1] // width * width if len(before) else 0  # the last bucket may still fill
    np.testing.assert_array_equal(before.steps[before.steps < full], after.steps[after.steps < full])


@given(SERIES, WIDTHS, WIDTHS, st.integers(0, 300))
def test_extremes_of_extremes_are_the_extremes(series: Points, fine: int, coarse: int, cut: int) -> None:
    """Whatever was thinned before, at whatever place it was cut: curves do not change as points are packed."""
    parts = [extremes(series.take(part), min(fine, coarse)) for part in (slice(cut), slice(cut, None))]
    thinned, whole = extremes(Points.join(parts), coarse), extremes(series, coarse)
    np.testing.assert_array_equal(thinned.steps, whole.steps)


@given(st.integers(0, 10**9), st.integers(1, 10**9), st.integers(1, 50_000))
def test_a_width_parts_a_span_into_about_as_many_buckets_as_asked_for(first: int, span: int, buckets: int) -> None:
    width = width_for(first, first + span - 1, buckets)
    assert width.bit_count() == 1
    assert span / width <= buckets
    assert width == 1 or span / (width // 2) > buckets


@settings(max_examples=6, deadline=None)
@given(st.integers(1, 3), st.integers(30 * BLOCK, 70 * BLOCK), st.integers(2, 4000), st.data())
def test_levels_tell_what_all_points_tell(every: int, count: int, asked: int, data: st.DataObject) -> None:
    """Also after a cut in the middle and new points behind it."""
    rng = np.random.default_rng(count)
    steps = every * np.arange(1, count + 1)
    series = Points(steps, rng.normal(size=count).cumsum(), steps / 3)
    cut = data.draw(st.integers(0, count))
    with fresh() as (database, run):
        for part in (slice(0, count // 3), slice(count // 3, None)):
            with database.write() as session:
                write(session, run, series.take(part))
        for _ in range(2):
            found = read(database, points=asked)
            width = width_for(every, int(series.steps[-1]), asked // 2)
            assert found["step"] == extremes(series, width).steps.tolist()
            assert found["total"] == count
            with database.write() as session:
                SeriesWriter(session, run).trim(int(steps[cut - 1]) if cut else 0)
                series.values[cut:] += 1.0
                if cut < count:
                    write(session, run, series.take(slice(cut, None)))


def test_a_name_that_a_spreadsheet_would_evaluate_is_escaped_in_csv() -> None:
    with fresh() as (database, run):
        with database.write() as session:
            write(session, run, points(0, 3), "=1+1")
        assert "".join(Metrics(database).csv("run")).splitlines()[1].startswith("'=1+1,0,")


def test_readers_of_a_csv_that_stand_still_hold_no_connection() -> None:
    """Sixty of them would otherwise hold every connection of the pool, and all pages with it."""
    with fresh() as (database, run):
        with database.write() as session:
            for name in ("train/loss", "val/loss"):
                write(session, run, points(0, 25_000), name)
        readers = [Metrics(database).csv("run") for _ in range(60)]
        for reader in readers:
            assert next(reader) == "series,step,value,time\r\n"
            assert next(reader).startswith("train/loss,0,")
        with database.read() as session:
            assert session.exec(select(Run)).one().id == "run"
        assert sum(len(list(csv.reader(io.StringIO(text)))) for text in readers[0]) == 30_000
