"""How many bytes of uploaded images the web process holds at once, over all requests."""

from __future__ import annotations

from typing import Self

from app.errors import unavailable
from app.settings import Settings

IMAGES_IN_MEMORY = 16  # of the largest size


class MemoryBudget:
    """What does not fit is refused rather than swapped out."""

    def __init__(self, limit: int) -> None:
        self._left = limit

    @classmethod
    def of(cls, settings: Settings) -> Self:
        return cls(IMAGES_IN_MEMORY * settings.max_image_bytes)

    def take(self, count: int) -> None:
        """Raises ApiError 503."""
        if count > self._left:
            raise unavailable("queue_full", "Too many images are being received; try again shortly.")
        self._left -= count

    def give_back(self, count: int) -> None:
        self._left += count
