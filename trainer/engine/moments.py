"""Moments in the work of a device, which are known without waiting for it."""

from __future__ import annotations

import time

import torch


class Moment:
    """The present, in the work that was given to `device`: on a GPU it comes when the work so far is done."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._seconds = 0.0
        self._event: torch.cuda.Event | None = None
        if device.type == "cuda":
            self._event = torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]
            self._event.record()
        else:
            self._seconds = time.monotonic()

    @property
    def has_come(self) -> bool:
        return self._event is None or bool(self._event.query())  # type: ignore[no-untyped-call]

    def wait(self) -> None:
        """Wait, in any thread."""
        if self._event is not None:
            with torch.cuda.device(self._device):  # another thread would begin to use the first GPU
                self._event.synchronize()

    def seconds_since(self, earlier: Moment) -> float:
        """Return the seconds from a moment of the same device to this one. Both have come."""
        if self._event is None or earlier._event is None:
            return self._seconds - earlier._seconds
        return float(earlier._event.elapsed_time(self._event)) / 1000
