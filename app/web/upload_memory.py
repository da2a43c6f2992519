"""The limit on the bytes of uploaded images that the web process holds at once, over all requests."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import monotonic
from typing import Self

from app.errors import ApiError, unavailable
from app.settings import Settings

IMAGES_IN_MEMORY = 8  # of the maximum size
YOUNG_SECONDS = 2.0  # an upload whose bytes are younger on average is not canceled for another one


def queue_full() -> ApiError:
    return unavailable("queue_full", "Too many images are being received; try again shortly.")


class MemoryBudget:
    """A budget in bytes. Uploads that exceed it are rejected, so that the process does not swap.

    When it is exhausted, the upload whose bytes have been held longest on average is canceled while it is still being
    received: a client that fills the budget and then sends slowly, or not at all, does not keep it from others.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._available = limit
        self._shares: set[Share] = set()

    @classmethod
    def of(cls, settings: Settings) -> Self:
        return cls(IMAGES_IN_MEMORY * settings.max_image_bytes)

    @contextmanager
    def share(self, cancel: Callable[[], None]) -> Iterator[Share]:
        """The share of one upload, returned at the end. `cancel` is called when the upload has to make room."""
        share = Share(self, cancel)
        self._shares.add(share)
        try:
            yield share
        finally:
            self._shares.discard(share)
            self.reclaim(share)

    def take(self, share: Share, count: int) -> None:
        """Reserve `count` bytes. Raises ApiError 503: the budget is exhausted."""
        now = monotonic()
        while count > self._available:
            self._make_room(share, now)
        self._available -= count
        share.add(count, now)

    def reclaim(self, share: Share) -> None:
        self._available += share.held
        share.held = 0

    def _make_room(self, asking: Share, now: float) -> None:
        held = [share for share in self._shares if share.receiving and share.held]
        oldest = max(held, key=lambda share: share.age(now), default=asking)
        if oldest is asking or oldest.age(now) < YOUNG_SECONDS:
            raise queue_full()
        oldest.canceled, oldest.receiving = True, False
        self.reclaim(oldest)
        oldest.cancel()


class Share:
    """The bytes that one upload holds."""

    def __init__(self, budget: MemoryBudget, cancel: Callable[[], None]) -> None:
        self.cancel = cancel
        self.held = 0
        self.receiving = True
        self.canceled = False
        self._budget = budget
        self._arrived = 0.0  # when its bytes arrived on average, in seconds of the monotonic clock

    def take(self, count: int) -> None:
        """Reserve `count` bytes more. Raises ApiError 503: the budget is exhausted."""
        self._budget.take(self, count)

    def add(self, count: int, now: float) -> None:
        self.held += count
        if self.held:
            self._arrived += (now - self._arrived) * count / self.held

    def age(self, now: float) -> float:
        """For how many seconds its bytes have been held on average."""
        return now - self._arrived
