"""A pool of decoder processes: each takes one image at a time, with a deadline, and is replaced when it dies."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import subprocess
import sys
import time
from dataclasses import dataclass

from app.predictor_wire import READ_LIMIT, Header, WireError, pack, receive

# The slowest image within the limits, a 50-megapixel WebP, takes three seconds on an idle core.
SECONDS_PER_IMAGE = 10.0
GRACE_SECONDS = 2.0

log = logging.getLogger(__name__)


class BadImage(Exception):
    """An image that is refused; `code` is one of trainer.data.errors."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


@dataclass
class DecoderHost:
    """The process that forks decoders; it ends when nobody holds the other side of `control` any more."""

    process: subprocess.Popen[bytes]
    control: socket.socket

    @classmethod
    def start(cls) -> DecoderHost:
        ours, theirs = socket.socketpair()
        with theirs:
            process = subprocess.Popen(
                [sys.executable, "-m", "app.decoder"],
                stdin=theirs.fileno(),
                env={**os.environ, "OPENBLAS_NUM_THREADS": "1"},  # it forks: no threads
            )
        return cls(process, ours)

    def close(self) -> None:
        self.control.close()
        self.process.wait()


@dataclass
class _Slot:
    """A place in the pool, whose process is started when it is needed."""

    reader: asyncio.StreamReader | None = None
    writer: asyncio.StreamWriter | None = None

    async def open(self, control: socket.socket) -> None:
        ours, theirs = socket.socketpair()
        with theirs:
            socket.send_fds(control, [b"+"], [theirs.fileno()])
        self.reader, self.writer = await asyncio.open_connection(sock=ours, limit=READ_LIMIT)

    async def exchange(self, question: bytes) -> tuple[Header, bytes]:
        assert self.reader is not None
        assert self.writer is not None
        try:
            self.writer.write(question)
            await self.writer.drain()
        except ConnectionError as error:
            raise WireError(str(error)) from None
        return await receive(self.reader)

    def close(self) -> None:
        """A decoder ends with its connection, or with its alarm where it hangs."""
        if self.writer is not None:
            self.writer.close()
        self.reader = self.writer = None


class Decoders:
    def __init__(self, control: socket.socket, count: int, max_pixels: int, seconds: float = SECONDS_PER_IMAGE) -> None:
        self._control = control
        self._max_pixels = max_pixels
        self._seconds = seconds
        self._idle: asyncio.LifoQueue[_Slot] = asyncio.LifoQueue()
        for _ in range(count):
            self._idle.put_nowait(_Slot())

    async def decode(self, data: bytes, size: int, fit: str) -> bytes:
        """size × size × 3 bytes. Raises BadImage; a crash or a time-out is one too."""
        header = {"size": size, "fit": fit, "max_pixels": self._max_pixels, "seconds": self._seconds}
        question = pack(header, data)
        slot = await self._idle.get()
        try:
            answer, pixels = await self._answer(slot, question)
        except BaseException:
            # Cancelled between question and answer, too: the next image must not get this one's pixels.
            slot.close()
            raise
        finally:
            self._idle.put_nowait(slot)
        if answer:
            raise BadImage(answer["code"], answer["message"])
        return pixels

    async def _answer(self, slot: _Slot, question: bytes) -> tuple[Header, bytes]:
        begun = time.monotonic()
        was_open = slot.reader is not None
        while True:
            try:
                if slot.reader is None:
                    await slot.open(self._control)
                async with asyncio.timeout(self._seconds + GRACE_SECONDS):
                    return await slot.exchange(question)
            except (WireError, TimeoutError):
                slot.close()
                late = time.monotonic() - begun >= self._seconds
                if was_open and not late:  # it may have died before; a fresh one shows if the image is to blame
                    was_open = False
                    continue
                log.warning("a decoder %s on a question of %d bytes", "ran late" if late else "died", len(question))
                reason = "takes too long to decode" if late else "cannot be decoded"
                raise BadImage("unreadable_image", f"The image {reason}.") from None

    def close(self) -> None:
        while not self._idle.empty():
            self._idle.get_nowait().close()
