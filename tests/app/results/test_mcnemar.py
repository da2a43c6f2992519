from __future__ import annotations

import pytest

from app.results.mcnemar import mcnemar


def test_the_exact_test_agrees_with_published_values() -> None:
    # The sign test's two-sided tails at one half: 2 × 56/1024, and 2 × 11/1024.
    assert mcnemar(2, 8).p == pytest.approx(0.109375)
    assert mcnemar(9, 1).p == pytest.approx(0.021484375)
    assert mcnemar(0, 5).p == pytest.approx(0.0625)
    assert mcnemar(0, 0).p == 1
    assert mcnemar(7, 7).p == 1


def test_the_corrected_chi_squared_test_agrees_with_published_values() -> None:
    # Agresti, Categorical Data Analysis, table 10.1: 17.36 without the correction, 16.82 with it.
    assert mcnemar(150, 86).p == pytest.approx(4.1e-5, rel=0.02)
    # The usual textbook table, 101, 121, 59, 33: 21.36 without the correction, 20.67 with it.
    assert mcnemar(121, 59).p == pytest.approx(5.45e-6, rel=0.01)
    assert mcnemar(30, 30).p == 1


def test_the_two_ways_meet_where_one_takes_over_from_the_other() -> None:
    assert mcnemar(17, 7).p == pytest.approx(mcnemar(17, 8).p, abs=0.05)
    assert (mcnemar(20, 4).differ, mcnemar(14, 10).differ) == (True, False)
    assert mcnemar(4, 20) == type(mcnemar(4, 20))(4, 20, mcnemar(20, 4).p)
