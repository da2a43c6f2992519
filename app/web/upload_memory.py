"""The limit on the bytes of uploaded images that the web process holds at once, over all requests."""

from __future__ import annotations

from typing import Self

from app.errors import unavailable
from app.settings import Settings

IMAGES_IN_MEMORY = 16  # of the maximum size


class MemoryBudget:
    """A budget in bytes. Uploads that exceed it are rejected, so that the process does not swap."""

    def __init__(self, limit: int) -> None:
        self._available = limit

    @classmethod
    def of(cls, settings: Settings) -> Self:
        return cls(IMAGES_IN_MEMORY * settings.max_image_bytes)

    def take(self, count: int) -> None:
        """Reserve `count` bytes. Raises ApiError 503: the budget is exhausted."""
        if count > self._available:
            raise unavailable("queue_full", "Too many images are being received; try again shortly.")
        self._available -= count

    def give_back(self, count: int) -> None:
        self._available += count
