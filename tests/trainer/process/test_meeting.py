"""Who may be a rank of a run that waits on a network."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import orjson
import pytest

from tests.conftest import wait_for
from trainer.engine.ranks import RankLost
from trainer.process.assignment import Assignment
from trainer.process.distant_ranks import DistantRanks, StoppedBefore
from trainer.process.meeting import Meeting, NoSuchAddress, connect, interface_of, listen
from trainer.rundir.events import EventWriter
from trainer.rundir.folder import RunDir


class Waiting:
    """Rank 0 of two on another thread, until it is stopped."""

    def __init__(self, folder: Path) -> None:
        self.stops = False
        self.left = threading.Event()
        assignment = Assignment(str(folder), "", "cpu", 1, others=("b/cpu", "c/cpu"), listen="127.0.0.1")
        self.ranks = DistantRanks(assignment, EventWriter(folder, 1), lambda: self.stops, self.left.set)
        self.ranks.start()
        self.meeting = Meeting(**orjson.loads(RunDir(folder).meeting.read_bytes()))
        self.ended: type[Exception] | None = None
        self._thread = threading.Thread(target=self._wait)
        self._thread.start()

    def _wait(self) -> None:
        with pytest.raises((StoppedBefore, RankLost)) as raised:
            self.ranks.ranks()
        self.ended = raised.type

    def stop(self) -> None:
        self.stops = True
        self._thread.join(10)
        self.ranks.finish(failed=False)


@pytest.fixture
def waiting(tmp_path: Path) -> Iterator[Waiting]:
    made = Waiting(tmp_path)
    yield made
    made.stop()


def is_closed(link: socket.socket) -> bool:
    """Whether nothing more is said to it; raises TimeoutError."""
    link.settimeout(10)
    with suppress(ConnectionError):
        while link.recv(100):
            pass
    return True


@pytest.mark.parametrize(("secret", "rank"), [("0" * 64, 1), (None, 0), (None, 3)])
def test_who_does_not_prove_to_be_a_rank_is_refused(waiting: Waiting, secret: str | None, rank: int) -> None:
    meeting = waiting.meeting
    link = connect(Meeting(meeting.address, meeting.port, secret or meeting.secret), rank)
    assert is_closed(link)
    link.close()


def test_a_rank_is_taken_once_and_a_silent_stranger_keeps_nobody_waiting(waiting: Waiting) -> None:
    address = waiting.meeting.address, waiting.meeting.port
    with socket.create_connection(address), connect(waiting.meeting, 1) as first:
        wait_for(lambda: waiting.ranks._all, 5, "the first")
        second = connect(waiting.meeting, 1)
        assert is_closed(second)
        second.close()
        first.sendall(b'{"leaves":true}\n')  # its machine leaves: the run is to be saved
        assert waiting.left.wait(5)
    assert wait_for(lambda: waiting.ended, 5, "its end to be noticed") is RankLost


def test_a_run_that_waits_can_be_stopped(tmp_path: Path) -> None:
    waiting = Waiting(tmp_path)
    assert RunDir(tmp_path).meeting.stat().st_mode & 0o777 == 0o600
    link = connect(waiting.meeting, 2)
    wait_for(lambda: waiting.ranks._all, 5, "the rank")
    waiting.stop()
    assert waiting.ended is StoppedBefore
    assert is_closed(link)
    link.close()
    assert not RunDir(tmp_path).meeting.exists()


def test_an_address_that_this_machine_does_not_have_is_said() -> None:
    assert interface_of("127.0.0.1") == "lo"
    with pytest.raises(NoSuchAddress, match=r"203\.0\.113\.7"):
        interface_of("203.0.113.7")
    with pytest.raises(NoSuchAddress, match=r"203\.0\.113\.7"):
        listen("203.0.113.7")
