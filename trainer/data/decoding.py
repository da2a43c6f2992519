"""Decode image files in worker processes that a hostile file may crash, hang or fill. Used by import and prediction."""

from __future__ import annotations

import signal
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from trainer.data.confined import (
    MEMORY_BYTES,
    SECONDS_PER_IMAGE,
    TIME_LIMIT_SIGNAL,
    address_space,
    confine,
    measure_untrusted,
    untrusted_size,
)
from trainer.data.errors import ImageError, ImageTooLarge, UnreadableImage
from trainer.data.fit import MAX_PIXELS
from trainer.data.format import Fit, Images

Result = TypeVar("Result")


@dataclass(frozen=True)
class Fault:
    """Why a file cannot be used; `code` is one of those in trainer.data.errors."""

    code: str
    message: str


@dataclass
class ConfinedReader:
    """Reads images in a worker process of map_ordered.

    The process is confined before it opens its first image; what it has mapped by then does not count against its
    memory.
    """

    max_pixels: int = MAX_PIXELS
    seconds: float = SECONDS_PER_IMAGE
    _confined: bool = False

    def pixels(self, read: Callable[[], bytes], size: int, fit: Fit) -> Images | Fault:
        """Return uint8 size × size × 3."""
        found = self.measured(read, size, fit)
        return found if isinstance(found, Fault) else found[0]

    def measured(self, read: Callable[[], bytes], size: int, fit: Fit) -> tuple[Images, float | None] | Fault:
        """Return the pixels, and the largest value of an image of 16 bits per channel: see `deep_peak`."""
        return self._try(
            read, lambda data: measure_untrusted(data, size, fit, max_pixels=self.max_pixels, seconds=self.seconds)
        )

    def stated_size(self, read: Callable[[], bytes]) -> tuple[int, int] | Fault:
        """Return the width and height in the image's header."""
        return self._try(read, lambda data: untrusted_size(data, seconds=self.seconds))

    def _try(self, read: Callable[[], bytes], use: Callable[[bytes], Result]) -> Result | Fault:
        try:
            data = read()
            if not self._confined:
                self._confined = True
                confine(address_space() + MEMORY_BYTES)
            return use(data)
        except ImageError as error:
            return Fault(error.code, error.message)
        except OSError as error:
            return Fault(UnreadableImage.code, f"The file cannot be read: {error.strerror}.")
        except MemoryError:
            return Fault(ImageTooLarge.code, "The file is too large to be read.")


def process_died(exit_code: int) -> Fault:
    """The Fault of an image that ended the process which decoded it, twice."""
    reason = {
        -TIME_LIMIT_SIGNAL: "takes too long to decode",
        -signal.SIGKILL: "cannot be decoded: the process was killed, perhaps for lack of memory",
    }.get(exit_code, "cannot be decoded")
    return Fault(UnreadableImage.code, f"The image {reason}.")
