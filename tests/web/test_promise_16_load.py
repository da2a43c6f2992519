"""Promise 16: the server handles the specified load. Tests a quarter of it for 10 s; `make bench` tests all of it."""

from __future__ import annotations

import pytest

from tests.benchmarks.load import Load, under


@pytest.mark.long
@pytest.mark.timeout(120)
def test_promise_16_a_quarter_of_the_stated_load_for_ten_seconds() -> None:
    found = under(Load(streams=250, runs=12, predictions=5, pages=4, seconds=10))
    assert found.values > 250 * 10 * 5
    assert (found.lost, found.late, found.failed) == (0, 0, 0)
    assert sorted(found.pages)[len(found.pages) // 2] < 300
    assert found.growth < 0.25
