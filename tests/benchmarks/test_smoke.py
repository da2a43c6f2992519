"""The cheap benchmarks run and give plausible rows. Their targets hold only on an idle machine and are not checked."""

from __future__ import annotations

import pytest

from tests.benchmarks import ingest
from tests.benchmarks.__main__ import entry, page
from tests.benchmarks.attacked import Attack, under


def test_ingest_benchmark_runs() -> None:
    rows = ingest.measure(steps=5000)
    assert [row.mark for row in rows] == ["≥ 200,000 scalars/s", "≤ 10 µs"]
    here = entry(rows)
    text = page({"ingest": {"here": here, "there": {**here, "machine": "another processor"}}})
    assert all(text.count(row.what) == 2 for row in rows)
    assert "another processor" in text


@pytest.mark.long
@pytest.mark.timeout(120)
def test_honest_clients_are_answered_while_others_attack() -> None:
    found = under(Attack(clients=8, attackers=4, seconds=6))
    assert found.refused == found.wrong == 0
    assert found.attacks
    assert len(found.latencies) > 100  # without fair queueing, a handful
    assert found.is_within_memory
