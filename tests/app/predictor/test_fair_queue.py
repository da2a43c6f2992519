from __future__ import annotations

from itertools import count

import pytest

from app.predictor.fair_queue import FairQueue, Sender


def drained(queue: FairQueue[str]) -> list[str]:
    return [queue.pop() for _ in range(len(queue))]


def test_one_request_is_answered_in_order() -> None:
    queue: FairQueue[str] = FairQueue()
    for number in range(9):
        queue.push(Sender("a", 1), f"{number}", 0.1)
    assert queue.head() == "0"
    assert drained(queue) == [f"{number}" for number in range(9)]
    with pytest.raises(IndexError):
        queue.pop()


def test_a_client_with_one_item_goes_before_one_with_many() -> None:
    queue: FairQueue[str] = FairQueue()
    for number in range(64):
        queue.push(Sender("many", number), "many", 0.001)
    assert queue.pop() == "many"
    queue.push(Sender("one", 64), "one", 0.001)
    assert "one" in [queue.pop() for _ in range(2)]


def test_clients_share_the_time_not_the_number() -> None:
    queue: FairQueue[str] = FairQueue()
    for number in range(200):
        queue.push(Sender("slow", number), "slow", 0.4)
        queue.push(Sender("fast", 1000 + number), "fast", 0.1)
    first = [queue.pop() for _ in range(100)]
    assert first.count("slow") == pytest.approx(20, abs=2)


def test_what_an_item_took_counts_not_what_it_was_expected_to_take() -> None:
    queue: FairQueue[str] = FairQueue()
    numbers = count()
    for name in ("liar", "honest"):
        for _ in range(100):
            queue.push(Sender(name, next(numbers)), name, 0.001)
    served = []
    for _ in range(80):
        served.append(queue.pop())
        if served[-1] == "liar":
            queue.charge(Sender("liar", 0), 0.01)
    assert served.count("liar") < 12


def test_a_client_that_comes_back_at_once_does_not_start_anew() -> None:
    """One request after the other is no way to pass those who wait."""
    queue: FairQueue[str] = FairQueue()
    for number in range(10):
        queue.push(Sender("patient", number), "patient", 0.01)
    queue.push(Sender("eager", 100), "eager", 1.0)
    served = []
    for number in range(10):
        served.append(queue.pop())
        if served[-1] == "eager":
            queue.push(Sender("eager", 101 + number), "eager", 1.0)
    assert served.count("eager") == 1


def test_requests_of_one_client_take_turns() -> None:
    """Everybody behind a proxy has one address."""
    queue: FairQueue[str] = FairQueue()
    for _ in range(64):
        queue.push(Sender("proxy", 1), "large", 0.3)
    queue.pop()
    for number in range(10):
        queue.push(Sender("proxy", 2 + number), "single", 0.001)
    assert drained(queue)[:11].count("single") == 10


def test_idle_clients_are_forgotten() -> None:
    queue: FairQueue[str] = FairQueue()
    for number in range(10_000):
        queue.push(Sender(f"client {number}", number), "item", 0.001)
        queue.pop()
    assert len(queue._clients._flows) < 200
    assert len(queue) == 0
