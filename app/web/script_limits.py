"""How much a script may send at once and per second, so that none stops another.

The requests of one run take turns, and wait without a thread. A client that is told to wait keeps its events, and sends
them later.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from time import monotonic

from app.errors import ApiError

REQUESTS_PER_SECOND, MOST_REQUESTS = 50.0, 200.0
BYTES_PER_SECOND, MOST_BYTES = 8.0 * (1 << 20), 64.0 * (1 << 20)
CREATIONS_PER_SECOND, MOST_CREATIONS = 5.0, 200.0
MOST_WAITING = 8  # requests of one run
AT_WORK = 8  # requests that use a thread; the pages have the others
LARGE = 256 << 10
MOST_LARGE = 16  # bodies in memory at once
REMEMBERED = 10_000


@dataclass
class Allowance:
    """`rate` per second, and at most `most` at once."""

    rate: float
    most: float
    left: float
    at: float

    @classmethod
    def full(cls, rate: float, most: float, now: float) -> Allowance:
        return cls(rate, most, most, now)

    def take(self, amount: float, now: float) -> float:
        """Take `amount`, and return 0; or return the seconds until it is there, and take nothing."""
        self.left = min(self.most, self.left + (now - self.at) * self.rate)
        self.at = now
        if self.left >= min(amount, self.most):
            self.left -= amount
            return 0.0
        return (min(amount, self.most) - self.left) / self.rate


@dataclass
class _Run:
    requests: Allowance
    bytes: Allowance
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    waiting: int = 0


class ScriptLimits:
    def __init__(self) -> None:
        self._runs: OrderedDict[str, _Run] = OrderedDict()
        self._creations: OrderedDict[str, Allowance] = OrderedDict()
        self._at_work = asyncio.Semaphore(AT_WORK)
        self._large = asyncio.Semaphore(MOST_LARGE)

    @asynccontextmanager
    async def turn(self, run_id: str, declared: int | None) -> AsyncIterator[None]:
        """Wait until no other request of the run is received. `declared` is the size of the body, if it is known.

        Raises ApiError 429: there are too many.
        """
        run = self._run(run_id, monotonic())
        _check(run.requests.take(1, monotonic()))
        if run.waiting >= MOST_WAITING:
            raise _too_much(1)
        run.waiting += 1
        try:
            async with run.lock:
                if declared is not None and declared <= LARGE:
                    yield
                else:
                    async with self._large:
                        yield
        finally:
            run.waiting -= 1

    @asynccontextmanager
    async def work(self, run_id: str, size: int) -> AsyncIterator[None]:
        """Wait for a thread for a body of `size` bytes. Raises ApiError 429: the run has sent too many bytes."""
        now = monotonic()
        _check(self._run(run_id, now).bytes.take(size, now))
        async with self._at_work:
            yield

    def check_creation(self, sender: str) -> None:
        """Raises ApiError 429: the sender registers too many sessions."""
        now = monotonic()
        allowance = self._creations.pop(sender, None)
        self._creations[sender] = allowance or Allowance.full(CREATIONS_PER_SECOND, MOST_CREATIONS, now)
        while len(self._creations) > REMEMBERED:
            self._creations.popitem(last=False)
        _check(self._creations[sender].take(1, now))

    def _run(self, run_id: str, now: float) -> _Run:
        """Return the run's allowances. Those of idle runs are forgotten, and begin anew."""
        run = self._runs.get(run_id)
        if run is None:
            requests = Allowance.full(REQUESTS_PER_SECOND, MOST_REQUESTS, now)
            run = self._runs[run_id] = _Run(requests, Allowance.full(BYTES_PER_SECOND, MOST_BYTES, now))
            while len(self._runs) > REMEMBERED and not next(iter(self._runs.values())).waiting:
                self._runs.popitem(last=False)
        self._runs.move_to_end(run_id)
        return run


def _check(seconds: float) -> None:
    if seconds > 0:
        raise _too_much(seconds)


def _too_much(seconds: float) -> ApiError:
    headers = {"Retry-After": str(max(1, round(seconds)))}
    return ApiError(429, "too_much", "This run sends too much at once: send the rest later.", headers=headers)
