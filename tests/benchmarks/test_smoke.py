"""The cheap benchmarks run and give plausible rows. Their targets hold only on an idle machine and are not checked."""

from __future__ import annotations

from tests.benchmarks import ingest
from tests.benchmarks.__main__ import entry, page


def test_ingest_benchmark_runs() -> None:
    rows = ingest.measure(steps=5000)
    assert [row.mark for row in rows] == ["≥ 200,000 scalars/s", "≤ 10 µs"]
    text = page({"ingest": entry(rows)})
    assert all(row.what in text for row in rows)
