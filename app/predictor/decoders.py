"""A pool of decoder processes. Each image has a deadline; a process that dies is replaced."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import subprocess
import sys
import time
from collections import deque
from dataclasses import dataclass

from app.prediction.wire import Header, RpcClient, WireError

# The slowest image within the limits, a 50-megapixel WebP, takes three seconds on an idle core.
SECONDS_PER_IMAGE = 10.0
GRACE_SECONDS = 2.0
SMALL_BYTES = 1 << 15
MAX_BATCH = 16
BATCH_SECONDS = 0.3  # a small file can be a slow image: the others are not to wait for it

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
                [sys.executable, "-m", "app.predictor.decoder"],
                stdin=theirs.fileno(),
                env={**os.environ, "OPENBLAS_NUM_THREADS": "1"},  # it forks: no threads
            )
        return cls(process, ours)

    def close(self) -> None:
        self.control.close()
        self.process.wait()


class HostGone(Exception):
    """The process that forks decoders has exited: this serving process ends, and the parent starts both anew."""


class _Slot:
    """A place in the pool, whose process is started when it is needed."""

    def __init__(self, control: socket.socket) -> None:
        self._control = control
        self._connection: RpcClient | None = None

    @property
    def is_open(self) -> bool:
        return self._connection is not None

    async def ask(self, header: Header, images: list[bytes], seconds: float) -> tuple[Header, bytes]:
        """Raises WireError or TimeoutError, and closes the slot then. Raises HostGone."""
        try:
            if self._connection is None:
                self._connection = await self._start()
            async with asyncio.timeout(seconds):
                return await self._connection.ask(header, *images)
        except WireError:
            self.close()
            if self._host_is_gone():  # it took the connection with it, unread: the image is not to blame
                raise HostGone from None
            raise
        except BaseException:
            self.close()
            raise

    async def _start(self) -> RpcClient:
        """Have the host fork a decoder for a new connection."""
        ours, theirs = socket.socketpair()
        try:
            with theirs:
                socket.send_fds(self._control, [b"+"], [theirs.fileno()])
            _, connection = await asyncio.get_running_loop().create_connection(RpcClient, sock=ours)
        except OSError:
            ours.close()
            raise HostGone from None
        return connection

    def _host_is_gone(self) -> bool:
        try:
            return self._control.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT) == b""
        except BlockingIOError:
            return False
        except OSError:
            return True

    def close(self) -> None:
        """A decoder ends with its connection, or with its alarm where it hangs."""
        if self._connection is not None:
            self._connection.close()
        self._connection = None


@dataclass(eq=False)
class _Image:
    data: bytes
    size: int
    fit: str
    pixels: asyncio.Future[bytes]
    alone: bool

    def goes_with(self, other: _Image) -> bool:
        return not (self.alone or other.alone) and (self.size, self.fit) == (other.size, other.fit)


class Decoders:
    """Small files that wait are decoded in batches. A batch that fails or is late is decoded image by image."""

    def __init__(
        self,
        control: socket.socket,
        count: int,
        max_pixels: int,
        seconds: float = SECONDS_PER_IMAGE,
        batch_seconds: float = BATCH_SECONDS,
    ) -> None:
        self._limits: Header = {"max_pixels": max_pixels, "seconds": seconds}
        self._seconds = seconds
        self._batch_seconds = batch_seconds
        self._count = count
        self._idle = [_Slot(control) for _ in range(count)]
        self._waiting: deque[_Image] = deque()
        self._working: set[asyncio.Task[None]] = set()

    async def decode(self, data: bytes, size: int, fit: str) -> bytes:
        """size × size × 3 bytes. Raises BadImage; a crash or a time-out is one too."""
        future = asyncio.get_running_loop().create_future()
        self._waiting.append(_Image(data, size, fit, future, alone=len(data) > SMALL_BYTES))
        self._set_to_work()
        pixels: bytes = await future
        return pixels

    def _set_to_work(self) -> None:
        """One more decoder, if one is idle."""
        if self._idle:
            task = asyncio.create_task(self._work(self._idle.pop()))
            self._working.add(task)
            task.add_done_callback(self._working.discard)

    async def _work(self, slot: _Slot) -> None:
        try:
            while batch := self._take():
                await self._decode(slot, batch)
        finally:
            self._idle.append(slot)

    def _take(self) -> list[_Image]:
        """The next in turn, and of those that wait behind it what this decoder is to take along."""
        batch: list[_Image] = []
        most = min(MAX_BATCH, -(-len(self._waiting) // self._count))
        while self._waiting and len(batch) < max(1, most):
            if batch and not batch[0].goes_with(self._waiting[0]):
                break
            image = self._waiting.popleft()
            if not image.pixels.done():  # else nobody waits for it any more
                batch.append(image)
        return batch

    async def _decode(self, slot: _Slot, batch: list[_Image]) -> None:
        try:
            if len(batch) == 1:
                answers, pixels = await self._decode_one(slot, batch[0])
            else:
                answers, pixels = await self._ask(slot, batch, self._batch_seconds)
        except (WireError, TimeoutError):
            for image in reversed(batch):
                image.alone = True
                self._waiting.appendleft(image)
                self._set_to_work()
            return
        except Exception as error:  # noqa: BLE001  the edge of the task: those who asked get to know
            for image in batch:
                if not image.pixels.done():
                    image.pixels.set_exception(error)
            return
        at = 0
        for image, bad in zip(batch, answers, strict=True):
            end = at if bad else at + 3 * image.size**2
            if not image.pixels.done():
                if bad:
                    image.pixels.set_exception(BadImage(bad["code"], bad["message"]))
                else:
                    image.pixels.set_result(pixels[at:end])
            at = end

    async def _ask(self, slot: _Slot, batch: list[_Image], seconds: float) -> tuple[list[Header | None], bytes]:
        files = [image.data for image in batch]
        header = self._limits | {"size": batch[0].size, "fit": batch[0].fit, "images": [*map(len, files)]}
        answer, pixels = await slot.ask(header, files, seconds)
        return answer["answers"], pixels

    async def _decode_one(self, slot: _Slot, image: _Image) -> tuple[list[Header | None], bytes]:
        begun = time.monotonic()
        was_open = slot.is_open
        while True:
            try:
                return await self._ask(slot, [image], self._seconds + GRACE_SECONDS)
            except (WireError, TimeoutError):
                late = time.monotonic() - begun >= self._seconds
                if was_open and not late:  # it may have died before; a fresh one shows if the image is to blame
                    was_open = False
                    continue
                log.warning("a decoder %s on an image of %d bytes", "ran late" if late else "died", len(image.data))
                reason = "takes too long to decode" if late else "cannot be decoded"
                return [{"code": "unreadable_image", "message": f"The image {reason}."}], b""

    def close(self) -> None:
        for task in self._working:
            task.cancel()
        for slot in self._idle:
            slot.close()
