"""How many images a network answers at once, as in evaluation: by their pixels and by the device's memory."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch

from trainer.errors import is_out_of_memory
from trainer.models.device import free_memory, memory_of

CPU_PIXELS = 250 * 32**2  # larger batches fall out of the cache and take twice as long per image
GPU_PIXELS = 2000 * 32**2
PIXEL_BYTES = 4096  # per pixel of the input, of all that a forward pass keeps at once; `resnet50` takes 1,700
MEMORY_SHARE = 0.25


@dataclass
class Portions:
    """`images` are taken at once. The number is halved whenever the memory is not enough, and stays so for the run."""

    images: int

    @classmethod
    def of(cls, device: torch.device, size: int) -> Portions:
        """Return the portions of images of `size` × `size` pixels."""
        return cls(images_at_once(device.type, memory_of(device), size))

    def each(self, stop: int, work: Callable[[slice], None], *, start: int = 0) -> None:
        """Call `work` with slices that cover the images from `start` to `stop`, with smaller ones again where the
        memory was not enough.

        Raises what `work` raises, for lack of memory too if it is not enough for one image.
        """
        while start < stop:
            part = slice(start, min(start + self.images, stop))
            if self._fits(part, work):
                start = part.stop
            else:
                free_memory()

    def _fits(self, part: slice, work: Callable[[slice], None]) -> bool:
        try:
            work(part)
        except (RuntimeError, MemoryError) as error:
            images = part.stop - part.start
            if images == 1 or not is_out_of_memory(error):
                raise
            self.images = images // 2
            return False
        return True


def images_at_once(kind: str, memory: int, size: int) -> int:
    """Return the number of `size` × `size` images for a kind of device ("cpu", "cuda") with `memory` bytes."""
    pixels = min(CPU_PIXELS if kind == "cpu" else GPU_PIXELS, MEMORY_SHARE * memory / PIXEL_BYTES)
    return max(1, int(pixels / size**2))
