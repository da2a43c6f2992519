"""A seat that is called until it answers: its process, or its node, may be another one by the next try."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

from app.worker.seat_calls import Lost, SeatCalls, Unreachable
from app.worker.shipment import pieces, read_piece
from trainer.node.calls import NotBegun, Refused

RETRY_SECONDS = 0.25
PIECES = 4  # of a file that are on their way at the same time

T = TypeVar("T")


class PatientSeat:
    """`patience_seconds`: how long the seat may be silent, at first for `grace_seconds` more. `released`: nobody waits
    for its answers any more.
    """

    def __init__(
        self, seat: SeatCalls, released: threading.Event, patience_seconds: float, grace_seconds: float = 0.0
    ) -> None:
        self.seat = seat
        self._released, self._patience = released, patience_seconds
        self._answered_at = time.monotonic() + grace_seconds

    def call(self, call: Callable[[SeatCalls], T]) -> T:
        """Raises Lost after a long silence, and what the seat raises."""
        while True:
            try:
                answer = call(self.seat)
            except Unreachable as error:
                silent_since = max(self._answered_at, self.seat.there_since)
                if self._released.is_set() or time.monotonic() - silent_since > self._patience:
                    raise Lost(f"the node does not answer: {error}") from error
                self._released.wait(RETRY_SECONDS)
            else:
                self._answered_at = time.monotonic()
                return answer

    def once(self, call: Callable[[SeatCalls], Any]) -> None:
        """Call it once. If it does not answer, it will hear from the next mirror or be told when it is back."""
        with suppress(Unreachable, Refused, NotBegun):
            call(self.seat)

    def ship(self, sources: dict[str, Path]) -> None:
        """Send what the node does not have, several pieces at a time; the last of a file follows the others."""
        with ThreadPoolExecutor(PIECES) as pool:
            for sha, arrived in self.call(lambda seat: seat.missing(list(sources))).items():
                *most, last = pieces(sources[sha], arrived)
                for _ in pool.map(lambda piece, sha=sha: self._put(sha, sources[sha], *piece, last=False), most):
                    pass
                self._put(sha, sources[sha], *last, last=True)

    def _put(self, sha: str, path: Path, offset: int, size: int, *, last: bool) -> None:
        data = read_piece(path, offset, size)
        self.call(lambda seat: seat.put(sha, offset, data, last=last))
