"""The calls of a seat (trainer.node.seat.Seat), from afar."""

from __future__ import annotations

from typing import Protocol

from trainer.node.calls import Beginning, Have, Pulled


class Unreachable(Exception):
    """The seat did not answer, for now."""


class Lost(Exception):
    """The seat has not answered for so long that the run is to go on elsewhere."""


class SeatCalls(Protocol):
    """Each raises Unreachable as well. From the monotonic time `there_since` on, the seat is expected to answer.

    `address` is that of its machine, under which the cluster knows it.
    """

    @property
    def there_since(self) -> float: ...
    @property
    def address(self) -> str: ...
    def missing(self, hashes: list[str]) -> dict[str, int]: ...
    def put(self, sha256: str, offset: int, data: bytes, *, last: bool) -> None: ...
    def begin(self, what: Beginning) -> int | None: ...
    def pull(self, run: str, claim: int, attempt: int, have: Have, wait_seconds: float) -> Pulled: ...
    def read(self, run: str, claim: int, path: str, offset: int, size: int) -> bytes: ...
    def request(self, run: str, claim: int, name: str, stamp: int) -> None: ...
    def signal(self, run: str, claim: int, attempt: int, number: int) -> None: ...
    def end(self, run: str, claim: int, attempt: int) -> None: ...
