"""Decode image files on all cores, in processes that hostile files may crash. Free of torch."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from trainer.data.confined import MEMORY_BYTES, address_space, confine, read_untrusted
from trainer.data.errors import ImageError, ImageTooLarge, UnreadableImage
from trainer.data.fit import MAX_PIXELS
from trainer.data.format import Fit
from trainer.data.sources.folder import read_file
from trainer.inference.image_files import ImageFile
from trainer.system.map_ordered import map_ordered
from trainer.system.parallel import available_cores

CHUNK = 16
# Long, as no user waits for a single image and the machine may be busy: the slowest image within the limits takes 3 s
# on an idle machine.
SECONDS_PER_IMAGE = 20.0


@dataclass(frozen=True)
class Fault:
    code: str
    message: str


@dataclass
class FileDecoder:
    """Decodes a chunk of files in a worker process, to `size` × `size` × 3 bytes or a Fault per file.

    It returns bytes and not arrays because they pass through the pipe faster.
    """

    size: int
    fit: Fit
    max_pixels: int = MAX_PIXELS
    seconds: float = SECONDS_PER_IMAGE
    _confined: bool = False
    _archive: tuple[str, int] | None = None

    def __call__(self, files: Sequence[ImageFile]) -> list[bytes | Fault]:
        if not self._confined:
            self._confined = True
            confine(address_space() + MEMORY_BYTES)
        return [self._decode(file) for file in files]

    def _decode(self, file: ImageFile) -> bytes | Fault:
        try:
            data = self._read(file)
            pixels = read_untrusted(data, self.size, self.fit, max_pixels=self.max_pixels, seconds=self.seconds)
        except ImageError as error:
            return Fault(error.code, error.message)
        except OSError as error:
            return Fault(UnreadableImage.code, f"The file cannot be read: {error.strerror}.")
        except MemoryError:
            return Fault(ImageTooLarge.code, "The file is too large to be read.")
        return pixels.tobytes()

    def _read(self, file: ImageFile) -> bytes:
        if file.entry is None:
            return read_file(Path(file.path))
        if self._archive is None or self._archive[0] != file.path:
            if self._archive is not None:
                os.close(self._archive[1])
            self._archive = (file.path, os.open(file.path, os.O_RDONLY | os.O_CLOEXEC))
        return file.entry.read(self._archive[1])


def decoded(
    files: Iterable[ImageFile], decoder: FileDecoder, stopped: Callable[[], bool]
) -> Generator[list[tuple[ImageFile, bytes | Fault]], None, None]:
    """Yield the files in order with their pixels, per chunk. Ends early once `stopped` returns True."""
    for chunk, found in map_ordered(
        decoder, _chunks(files), _process_died, processes=available_cores(), stopped=stopped
    ):
        yield list(zip(chunk, found, strict=True))


def _chunks(files: Iterable[ImageFile]) -> Iterator[list[ImageFile]]:
    waiting = iter(files)
    while chunk := list(islice(waiting, CHUNK)):
        yield chunk


def _process_died(exit_code: int) -> Fault:
    reason = "takes too long to decode" if exit_code == -signal.SIGALRM else "cannot be decoded"
    return Fault(UnreadableImage.code, f"The image {reason}.")
