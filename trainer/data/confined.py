"""Read an untrusted image with limits on memory, time and files.

A hostile image may crash, hang or fill the memory of the process that decodes it. Then only that image is lost.
"""

import resource
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from trainer.data.color import without_warnings
from trainer.data.decode_cost import decode_cost, excessive
from trainer.data.errors import ImageError, ImageTooLarge, UnreadableImage
from trainer.data.fit import open_image, read_measured
from trainer.data.format import Fit, Images

Result = TypeVar("Result")

# Decoding 50 million pixels peaks at 0.9 GiB, from WebP with transparency at 1.25 GiB.
MEMORY_BYTES = 3 << 29
# Of processor time, where no user waits for a single image: the slowest image within the limits takes 3 s.
SECONDS_PER_IMAGE = 20.0
TIME_LIMIT_SIGNAL = signal.SIGPROF
MAX_FRAMES = 1000
_GIF = (b"GIF87a", b"GIF89a")


def confine(memory: int = MEMORY_BYTES) -> None:
    """Limit this process to `memory` bytes of address space (on Linux), and forbid it to write files."""
    if sys.platform == "linux":
        resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def address_space() -> int:
    """Bytes of address space that this process has mapped; 0 where that is not known."""
    if sys.platform != "linux":
        return 0
    return int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()


def read_untrusted(data: bytes, size: int, fit: Fit, *, max_pixels: int, seconds: float) -> Images:
    """Read an image as `read_image` does. Fails as `measure_untrusted` does."""
    return measure_untrusted(data, size, fit, max_pixels=max_pixels, seconds=seconds)[0]


def measure_untrusted(
    data: bytes, size: int, fit: Fit, *, max_pixels: int, seconds: float
) -> tuple[Images, float | None]:
    """Read an image as `read_measured` does. Every failure raises ImageError; TIME_LIMIT_SIGNAL ends the process after
    `seconds` of processor time, so that a busy machine gives no image up.
    """

    def read() -> tuple[Images, float | None]:
        if data.startswith(_GIF) and gif_has_more_frames(data, MAX_FRAMES):
            raise ImageTooLarge(f"The GIF has more than {MAX_FRAMES:,} frames.")
        if (cost := decode_cost(data)).is_excessive:
            raise ImageTooLarge(excessive(cost))
        return read_measured(data, size, fit, max_pixels=max_pixels)

    return _limited(read, seconds)


def untrusted_size(data: bytes, *, seconds: float) -> tuple[int, int]:
    """Return the width and height that the image's header states. Fails as `measure_untrusted` does."""
    with without_warnings():
        return _limited(lambda: open_image(data).size, seconds)


def _limited(read: Callable[[], Result], seconds: float) -> Result:
    # The signal's default action ends the process, even inside Pillow's C code.
    signal.setitimer(signal.ITIMER_PROF, seconds)
    try:
        return read()
    except ImageError:
        raise
    except MemoryError:
        raise ImageTooLarge("The image needs too much memory to decode.") from None
    except Exception as error:  # noqa: BLE001  one bad image must not end the process
        raise UnreadableImage.of(error) from None
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)


def gif_has_more_frames(data: bytes, limit: int) -> bool:
    """Return whether a GIF has more than `limit` frames. Decodes none; a malformed file is left to the decoder."""
    position = 13 + _color_table_bytes(data, 10)
    frames = 0
    while position + 1 < len(data):
        if data[position] == 0x21:  # an extension: label, then sub-blocks
            position += 2
        elif data[position] == 0x2C and position + 9 < len(data):  # an image: descriptor, palette, LZW size
            frames += 1
            if frames > limit:
                return True
            position += 11 + _color_table_bytes(data, position + 9)
        else:
            return False
        while position < len(data) and data[position]:
            position += data[position] + 1
        position += 1
    return False


def _color_table_bytes(data: bytes, flags_at: int) -> int:
    flags = data[flags_at] if flags_at < len(data) else 0
    return 3 << ((flags & 7) + 1) if flags & 0x80 else 0
