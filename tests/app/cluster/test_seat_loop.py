"""When a seat takes a run, and what is said where it does not."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from app.cluster.node_seat import NodeGreeting
from app.cluster.seat_loop import GreetedSeat, SeatTest, described
from app.cluster.seats import devices_of
from app.cluster.versions import versions
from app.host.nodes import Draining, draining
from app.worker.seat_calls import Unreachable
from tests.conftest import wait_for
from trainer.node.calls import Greeting

WELL = NodeGreeting(Greeting("a", "cpu", "2 cores", versions(), time.time(), 1 << 40), None, draining=False)


class Answering:
    """A seat that says `greeting`; None: it does not answer."""

    there_since = 0.0

    def __init__(self, greeting: NodeGreeting | None) -> None:
        self.greeting = greeting

    def greet(self) -> NodeGreeting:
        if self.greeting is None:
            raise Unreachable("a time-out")
        return self.greeting


@contextmanager
def look_at(greeting: NodeGreeting | None) -> Iterator[SeatTest]:
    seat = GreetedSeat("a/cpu", "1", Answering(greeting))
    try:
        yield SeatTest(seat)
    finally:
        seat.close()


OTHER = replace(WELL, seat=replace(WELL.seat, versions={**versions(), "PyTorch": "2.9.0"}))
FULL = replace(WELL, seat=replace(WELL.seat, free=1 << 20))


@pytest.mark.parametrize(
    ("greeting", "said"),
    [
        (OTHER, f"PyTorch 2.9.0 is installed there, and {versions()['PyTorch']} here: install the same version"),
        (FULL, "its disk is almost full"),
        (replace(WELL, draining=True), "the node is leaving"),
        (None, "the node does not answer"),
        (WELL, None),
    ],
)
def test_a_seat_that_takes_no_run_says_why(greeting: NodeGreeting | None, said: str | None) -> None:
    with look_at(greeting) as test:
        wait_for(lambda: test.look(time.monotonic()) is (said is None) and test.problem == said, 10, f"{said}")


def test_a_clock_that_is_off_is_said() -> None:
    now = time.time()
    said = [described(replace(WELL.seat, clock=now + ahead), now) for ahead in (1, -1, 40, -4000)]
    assert said == ["2 cores", "2 cores", "2 cores, clock 40 s ahead", "2 cores, clock 4,000 s behind"]


def test_a_seat_of_a_drained_node_takes_no_run(tmp_path: Path) -> None:
    (tmp_path / "cluster" / "drained").mkdir(parents=True)
    seat = GreetedSeat("a/cpu", "1", Answering(WELL))
    test = SeatTest(seat, lambda: draining(tmp_path, "a") is not None)
    wait_for(lambda: test.look(time.monotonic()), 10, "an answer")
    (tmp_path / "cluster" / "drained" / "a").write_text(Draining.FINISH)
    assert not test.look(time.monotonic())
    assert test.problem == "the node is drained"
    (tmp_path / "cluster" / "drained" / "a").unlink()
    assert test.look(time.monotonic())
    seat.close()


def test_a_seat_whose_last_answer_is_old_takes_no_run() -> None:
    with look_at(WELL) as test:
        wait_for(lambda: test.look(time.monotonic()), 10, "an answer")
        assert not test.look(time.monotonic() + 60)
        assert test.problem == "the node does not answer"


def test_a_call_to_a_seat_that_is_not_there_does_not_wait() -> None:
    seat = GreetedSeat("a/cpu", "", None)
    with pytest.raises(Unreachable, match="a/cpu is not there"):
        seat.end("run", 1)
    seat.connect("2", Answering(WELL))
    assert wait_for(lambda: seat.greeting, 10, "a greeting") == WELL
    seat.close()


def test_the_devices_of_nodes_are_named_by_their_node() -> None:
    joined, at = {"trackside": "node", "host": "big"}, {"NodeManagerAddress": "10.0.0.7"}
    nodes = [
        {**at, "NodeID": "1", "Alive": True, "Labels": {**joined, "devices": "2.cuda"}},
        {**at, "NodeID": "2", "Alive": True, "Labels": {**joined, "host": "small", "devices": "2.cpu"}},
        {**at, "NodeID": "3", "Alive": False, "Labels": {**joined, "host": "gone", "devices": "1.cpu"}},
        {**at, "NodeID": "4", "Alive": True, "Labels": {"trackside": "home"}},
        {**at, "NodeID": "5", "Alive": True, "Labels": {}},
    ]
    names = ["big/cuda:0", "big/cuda:1", "small/cpu", "small/cpu:1"]
    assert [device.name for device in devices_of(nodes)] == names
    assert {device.address for device in devices_of(nodes)} == {"10.0.0.7"}
