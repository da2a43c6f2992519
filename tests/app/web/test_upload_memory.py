"""The memory for uploaded images: who makes room for whom."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from app.errors import ApiError
from app.web import upload_memory
from app.web.upload_memory import YOUNG_SECONDS, MemoryBudget


@pytest.fixture
def pass_time(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Moves the clock of the budget, which stands still otherwise, by some seconds."""
    now = 0.0

    def move(seconds: float) -> None:
        nonlocal now
        now += seconds

    monkeypatch.setattr(upload_memory, "monotonic", lambda: now)
    return move


def test_the_oldest_upload_makes_room_but_not_while_it_is_young(pass_time: Callable[[float], None]) -> None:
    budget = MemoryBudget(100)
    canceled: list[str] = []
    with (
        budget.share(lambda: canceled.append("first")) as first,
        budget.share(lambda: canceled.append("second")) as second,
        budget.share(lambda: canceled.append("third")) as third,
    ):
        first.take(60)
        pass_time(1)
        second.take(40)
        pass_time(YOUNG_SECONDS - 1.1)
        with pytest.raises(ApiError):
            third.take(10)
        assert not canceled
        pass_time(0.2)
        third.take(60)
        assert canceled == ["first"]
        assert first.held == 0
        with pytest.raises(ApiError):
            third.take(10)
    assert not second.held
    assert not third.held


def test_an_upload_that_was_received_makes_no_room(pass_time: Callable[[float], None]) -> None:
    budget = MemoryBudget(100)
    with budget.share(lambda: None) as first, budget.share(lambda: None) as second:
        first.take(100)
        first.receiving = False
        pass_time(10 * YOUNG_SECONDS)
        with pytest.raises(ApiError):
            second.take(1)
        assert first.held == 100
        assert not first.canceled
