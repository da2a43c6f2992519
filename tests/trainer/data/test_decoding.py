import sys
from collections.abc import Sequence
from functools import partial

import pytest

from tests.trainer.data.pictures import png
from trainer.data.confined import MEMORY_BYTES
from trainer.data.decoding import ConfinedReader, Fault, process_died
from trainer.system.map_ordered import map_ordered


def padded(more: int) -> bytes:
    return png(1) + bytes(more)


class Padded:
    """Reads images with a number of bytes behind them, in a worker process."""

    def __init__(self) -> None:
        self.reader = ConfinedReader()

    def __call__(self, sizes: Sequence[int]) -> list[tuple[int, int] | Fault]:
        return [self.reader.stated_size(partial(padded, size)) for size in sizes]


@pytest.mark.skipif(sys.platform != "linux", reason="address space is limited on Linux only")
def test_memory_is_limited_from_the_first_image_on() -> None:
    ((_, found),) = map_ordered(Padded(), [[0, MEMORY_BYTES, 0]], process_died, processes=1)
    assert found == [(32, 32), Fault("image_too_large", "The file is too large to be read."), (32, 32)]
