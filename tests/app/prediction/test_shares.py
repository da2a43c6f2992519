from __future__ import annotations

from app.prediction.shares import Shares


def test_a_full_queue_refuses_those_with_more_than_their_share() -> None:
    shares = Shares(100)
    assert shares.take("many", 64)
    assert not shares.take("many", 64)
    assert shares.take("many", 36)
    assert not shares.take("many")
    assert shares.take("other", 50)
    assert not shares.take("other")
    assert shares.total == 150
    shares.give_back("many", 36)
    shares.give_back("many", 64)
    assert shares.take("many", 50)
    shares.give_back("other", 50)
    shares.give_back("many", 50)
    assert shares.total == 0
    assert shares.take("other", 100)


def test_one_request_may_be_larger_than_the_limit() -> None:
    shares = Shares(10)
    assert shares.take("a", 64)
    assert not shares.take("a")
    shares.give_back("a", 64)
    assert shares.take("a")
