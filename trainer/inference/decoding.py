"""Decode image files on all cores, in processes that hostile files may crash. Free of torch."""

from __future__ import annotations

import os
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from pathlib import Path

from trainer.data.decoding import ConfinedReader, Fault, process_died
from trainer.data.format import Fit
from trainer.data.sources.folder import read_file
from trainer.inference.image_files import ImageFile
from trainer.system.map_ordered import map_ordered
from trainer.system.parallel import available_cores

CHUNK = 16


@dataclass
class FileDecoder:
    """Decodes a chunk of files in a worker process, to `size` × `size` × 3 bytes or a Fault per file.

    It returns bytes and not arrays because they pass through the pipe faster.
    """

    size: int
    fit: Fit
    reader: ConfinedReader = field(default_factory=ConfinedReader)
    _archive: tuple[str, int] | None = None

    def __call__(self, files: Sequence[ImageFile]) -> list[bytes | Fault]:
        found = (self.reader.pixels(partial(self._read, file), self.size, self.fit) for file in files)
        return [item if isinstance(item, Fault) else item.tobytes() for item in found]

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
        decoder, _chunks(files), process_died, processes=available_cores(), stopped=stopped
    ):
        yield list(zip(chunk, found, strict=True))


def _chunks(files: Iterable[ImageFile]) -> Iterator[list[ImageFile]]:
    waiting = iter(files)
    while chunk := list(islice(waiting, CHUNK)):
        yield chunk
