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
BATCH_SECONDS = 0.3  # a small file can be slow to decode: the others must not wait for it

log = logging.getLogger(__name__)


class BadImage(Exception):
    """An image that cannot be used; `code` is one of those in trainer.data.errors."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


@dataclass
class DecoderHost:
    """The process that forks decoders. It exits when every copy of `control` is closed."""

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


class DecoderHostExited(Exception):
    """The process that forks decoders has exited: the serving process stops, and the parent restarts both."""


class _Slot:
    """A slot of the pool. Its process is started on first use."""

    def __init__(self, control: socket.socket) -> None:
        self._control = control
        self._connection: RpcClient | None = None

    @property
    def is_open(self) -> bool:
        return self._connection is not None

    async def ask(self, header: Header, images: list[bytes], seconds: float) -> tuple[Header, bytes]:
        """Decode `images`. Raises WireError, TimeoutError and DecoderHostExited, after closing the slot."""
        try:
            if self._connection is None:
                self._connection = await self._start()
            async with asyncio.timeout(seconds):
                return await self._connection.ask(header, *images)
        except WireError:
            self.close()
            if self._host_has_exited():  # its exit closed the connection: the image is not the cause
                raise DecoderHostExited from None
            raise
        except BaseException:
            self.close()
            raise

    async def _start(self) -> RpcClient:
        """Make the host fork a decoder for a new connection. Raises DecoderHostExited."""
        ours, theirs = socket.socketpair()
        try:
            with theirs:
                socket.send_fds(self._control, [b"+"], [theirs.fileno()])
            _, connection = await asyncio.get_running_loop().create_connection(RpcClient, sock=ours)
        except OSError:
            ours.close()
            raise DecoderHostExited from None
        return connection

    def _host_has_exited(self) -> bool:
        try:
            return self._control.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT) == b""
        except BlockingIOError:
            return False
        except OSError:
            return True

    def close(self) -> None:
        """Close the connection, which ends the decoder; a decoder that hangs is ended by its own alarm."""
        if self._connection is not None:
            self._connection.close()
        self._connection = None


@dataclass(eq=False)
class _Image:
    data: bytes
    size: int
    fit: str
    pixels: asyncio.Future[bytes]
    batchable: bool  # false: decoded by itself

    def can_batch_with(self, other: _Image) -> bool:
        return self.batchable and other.batchable and (self.size, self.fit) == (other.size, other.fit)


class Decoders:
    """Decodes images in a pool of processes, small files in batches.

    The images of a batch that fails or times out are decoded again one at a time.
    """

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
        self._tasks: set[asyncio.Task[None]] = set()

    async def decode(self, data: bytes, size: int, fit: str) -> bytes:
        """Return the pixels, uint8 size × size × 3 as bytes.

        Raises BadImage, also when the decoder crashes or times out, and DecoderHostExited.
        """
        future = asyncio.get_running_loop().create_future()
        self._waiting.append(_Image(data, size, fit, future, batchable=len(data) <= SMALL_BYTES))
        self._start_task()
        pixels: bytes = await future
        return pixels

    def _start_task(self) -> None:
        """Start a task on one more slot, if one is idle."""
        if self._idle:
            task = asyncio.create_task(self._work(self._idle.pop()))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _work(self, slot: _Slot) -> None:
        try:
            while batch := self._next_batch():
                await self._decode(slot, batch)
        finally:
            self._idle.append(slot)

    def _next_batch(self) -> list[_Image]:
        """Take the first waiting image, and this slot's share of those behind it that can be decoded with it."""
        batch: list[_Image] = []
        limit = min(MAX_BATCH, -(-len(self._waiting) // self._count))
        while self._waiting and len(batch) < max(1, limit):
            if batch and not batch[0].can_batch_with(self._waiting[0]):
                break
            image = self._waiting.popleft()
            if not image.pixels.done():  # otherwise the caller was canceled
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
                image.batchable = False
                self._waiting.appendleft(image)
                self._start_task()
            return
        except Exception as error:  # noqa: BLE001  top level of the task: passed on to the callers
            for image in batch:
                if not image.pixels.done():
                    image.pixels.set_exception(error)
            return
        at = 0
        for image, fault in zip(batch, answers, strict=True):
            end = at if fault else at + 3 * image.size**2
            if not image.pixels.done():
                if fault:
                    image.pixels.set_exception(BadImage(fault["code"], fault["message"]))
                else:
                    image.pixels.set_result(pixels[at:end])
            at = end

    async def _ask(self, slot: _Slot, batch: list[_Image], seconds: float) -> tuple[list[Header | None], bytes]:
        files = [image.data for image in batch]
        header = self._limits | {"size": batch[0].size, "fit": batch[0].fit, "images": [*map(len, files)]}
        answer, pixels = await slot.ask(header, files, seconds)
        return answer["answers"], pixels

    async def _decode_one(self, slot: _Slot, image: _Image) -> tuple[list[Header | None], bytes]:
        started = time.monotonic()
        was_open = slot.is_open
        while True:
            try:
                return await self._ask(slot, [image], self._seconds + GRACE_SECONDS)
            except (WireError, TimeoutError):
                late = time.monotonic() - started >= self._seconds
                if was_open and not late:  # it may have died before this image: try once in a new process
                    was_open = False
                    continue
                log.warning("a decoder %s on an image of %d bytes", "ran late" if late else "died", len(image.data))
                reason = "takes too long to decode" if late else "cannot be decoded"
                return [{"code": "unreadable_image", "message": f"The image {reason}."}], b""

    def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        for slot in self._idle:
            slot.close()
