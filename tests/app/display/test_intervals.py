from __future__ import annotations

import pytest

from app.display.intervals import half_width, wilson


def test_the_interval_of_a_share() -> None:
    # Newcombe 1998, table I: 81 of 263, and 0 of 20.
    assert wilson(81, 263) == pytest.approx((0.2553, 0.3662), abs=1e-4)
    assert wilson(0, 20) == pytest.approx((0.0, 0.1611), abs=1e-4)
    assert wilson(7000, 10_000) == pytest.approx((0.691, 0.709), abs=1e-3)
    assert wilson(0, 0) == (0, 1)
    assert half_width(0.7, 10_000) == pytest.approx(0.009, abs=1e-4)
