"""A pool of decoder processes. Images that decode slowly leave a process free for the others.

Slow images, by an estimate from their headers, are decoded by all processes but one. An image that takes longer than
its estimate is given up and becomes a slow one. Within both kinds, clients take turns.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import time
from dataclasses import dataclass

from app.prediction.wire import Header, WireError
from app.predictor.decoder_process import Slot
from app.predictor.fair_queue import FairQueue, Sender
from trainer.data.decode_cost import DecodeCost, decode_cost, excessive

# The slowest image within the limits, a 50-megapixel WebP, takes four seconds on an idle core.
SECONDS_PER_IMAGE = 10.0
GRACE_SECONDS = 2.0
SLOW_SECONDS = 0.5  # estimated; a 12-megapixel photo takes 0.2 s as a baseline JPEG, 0.4 s as a progressive one
SMALL_BYTES = 1 << 15
SMALL_SECONDS = 0.02
MAX_BATCH = 16
BATCH_SECONDS = 0.3  # a small file can be slow to decode: the others must not wait for it
FAST_SECONDS = 1.0  # more than twice the estimate: an image that takes longer is a slow one
ANYONE = Sender("", 0)

log = logging.getLogger(__name__)


class BadImage(Exception):
    """An image that cannot be used; `code` is one of those in trainer.data.errors."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


@dataclass(eq=False)
class _Image:
    data: bytes
    size: int
    fit: str
    sender: Sender
    seconds: float  # estimated
    pixels: asyncio.Future[bytes]
    batchable: bool  # false: decoded by itself
    slow: bool
    slot: Slot | None = None  # where it is decoded, if it is slow

    def can_batch_with(self, other: _Image) -> bool:
        return self.batchable and other.batchable and (self.size, self.fit) == (other.size, other.fit)

    def fail(self, code: str, message: str) -> None:
        if not self.pixels.done():
            self.pixels.set_exception(BadImage(code, message))


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
        fast_seconds: float = FAST_SECONDS,
    ) -> None:
        self._limits: Header = {"max_pixels": max_pixels, "seconds": seconds}
        self._seconds = seconds
        self._batch_seconds = batch_seconds
        self._fast_seconds = fast_seconds
        self._count = count
        self._idle = [Slot(control) for _ in range(count)]
        self._slow_slots = max(1, count - 1)  # that may decode slow images now
        self._slow: FairQueue[_Image] = FairQueue()
        self._fast: FairQueue[_Image] = FairQueue()
        self._tasks: set[asyncio.Task[None]] = set()

    async def decode(
        self, data: bytes, size: int, fit: str, *, sender: Sender = ANYONE, cost: DecodeCost | None = None
    ) -> bytes:
        """Return the pixels, uint8 size × size × 3 as bytes. `cost` is that of `data`, if the caller knows it.

        A caller that is canceled withdraws the image. Raises BadImage, also when the decoder crashes or times out, and
        DecoderHostExited.
        """
        cost = cost or decode_cost(data)
        if cost.is_excessive:
            raise BadImage("image_too_large", excessive(cost))
        batchable = len(data) <= SMALL_BYTES and cost.seconds <= SMALL_SECONDS
        future = asyncio.get_running_loop().create_future()
        image = _Image(data, size, fit, sender, cost.seconds, future, batchable, is_slow(cost))
        self._enqueue(image)
        try:
            pixels: bytes = await future
        except asyncio.CancelledError:
            image.data = b""
            if image.slot:
                image.slot.withdraw()
            raise
        return pixels

    def _enqueue(self, image: _Image) -> None:
        """Queue an image, and start a task on one more slot if one is idle."""
        (self._slow if image.slow else self._fast).push(image.sender, image, image.seconds)
        if self._idle:
            task = asyncio.create_task(self._work(self._idle.pop()))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _work(self, slot: Slot) -> None:
        try:
            while batch := self._next_batch():
                if batch[0].slow:
                    await self._decode_slow(slot, batch[0])
                else:
                    await self._decode(slot, batch)
        finally:
            self._idle.append(slot)

    def _next_batch(self) -> list[_Image]:
        """Take a slow image if a slot may decode one; else the first fast one, and this slot's share of those behind it
        that can be decoded with it."""
        while self._slow and self._slow_slots:
            if not (image := self._slow.pop()).pixels.done():  # otherwise the caller was canceled
                return [image]
        batch: list[_Image] = []
        limit = min(MAX_BATCH, -(-len(self._fast) // self._count))
        while self._fast and len(batch) < max(1, limit):
            if batch and not batch[0].can_batch_with(self._fast.head()):
                break
            image = self._fast.pop()
            if not image.pixels.done():
                batch.append(image)
        return batch

    async def _decode_slow(self, slot: Slot, image: _Image) -> None:
        self._slow_slots -= 1
        image.slot = slot
        try:
            await self._decode(slot, [image])
        finally:
            image.slot = None
            self._slow_slots += 1

    async def _decode(self, slot: Slot, batch: list[_Image]) -> None:
        started = time.monotonic()
        try:
            if len(batch) == 1:
                answers, pixels = await self._decode_one(slot, batch[0])
            else:
                answers, pixels = await self._ask(slot, batch, self._batch_seconds)
        except (WireError, TimeoutError):
            for image in batch:
                self._try_again(image, alone=len(batch) == 1)
            return
        except Exception as error:  # noqa: BLE001  top level of the task: passed on to the callers
            for image in batch:
                if not image.pixels.done():
                    image.pixels.set_exception(error)
            return
        finally:
            took = (time.monotonic() - started) / len(batch)
            for image in batch:
                (self._slow if image.slot else self._fast).charge(image.sender, took - image.seconds)
        at = 0
        for image, fault in zip(batch, answers, strict=True):
            end = at if fault else at + 3 * image.size**2
            if fault:
                image.fail(fault["code"], fault["message"])
            elif not image.pixels.done():
                image.pixels.set_result(pixels[at:end])
            at = end

    def _try_again(self, image: _Image, *, alone: bool) -> None:
        if image.pixels.done():
            return
        image.batchable = False
        if alone:
            image.slow, image.seconds = True, max(image.seconds, SLOW_SECONDS)
        self._enqueue(image)

    async def _ask(self, slot: Slot, batch: list[_Image], seconds: float) -> tuple[list[Header | None], bytes]:
        files = [image.data for image in batch]
        header = self._limits | {"size": batch[0].size, "fit": batch[0].fit, "images": [*map(len, files)]}
        answer, pixels = await slot.ask(header, files, seconds)
        return answer["answers"], pixels

    async def _decode_one(self, slot: Slot, image: _Image) -> tuple[list[Header | None], bytes]:
        """Raises TimeoutError if an image that was thought fast is not, and WireError if the caller was canceled."""
        started = time.monotonic()
        was_open = slot.is_open
        while True:
            limit = self._seconds + GRACE_SECONDS if image.slow else self._fast_seconds + 2 * image.seconds
            try:
                return await self._ask(slot, [image], limit)
            except (WireError, TimeoutError) as error:
                if image.pixels.done() or (isinstance(error, TimeoutError) and not image.slow):
                    raise
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


def is_slow(cost: DecodeCost) -> bool:
    return cost.seconds > SLOW_SECONDS
