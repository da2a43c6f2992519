"""The web process's side of prediction: it asks the predictor over its socket, and never imports torch."""

from __future__ import annotations

import asyncio
import base64
import time
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from pydantic import BaseModel, Field, model_validator

from app.errors import ApiError
from app.predictor_wire import JOINT, READ_LIMIT, WireError, members_of, pack, receive, socket_address
from app.settings import Settings
from trainer.spec import ModelSpec, TrainSpec

# A predictor whose parent was killed needs about three seconds to be back.
CONNECT_SECONDS = 6.0
CONNECT_PAUSE = 0.05
ANSWER_SECONDS = 30.0
# Each image has a deadline of its own in the predictor; two are decoded at once.
ANSWER_SECONDS_PER_IMAGE = 5.0
# Fewer than the predictor's backlog: on a full one, asyncio takes a refused connection for an open one.
CONNECTIONS = 64
IDLE_CONNECTIONS = 8
# How many images of the largest size may be held in memory at once, over all requests.
IMAGES_IN_MEMORY = 16

IMAGE_STATUS = {"unsupported_image": 415, "image_too_large": 413}

Connection = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class PredictionPublic(BaseModel):
    label: str
    index: int = Field(description="The class's number in the data set.")
    probability: float = Field(ge=0, le=1)
    superclass: str | None = None


class ModelPublic(BaseModel):
    run: str = Field(description="Of an ensemble, its members' ids joined by +.")
    members: list[str] | None = Field(None, description="An ensemble's runs: the answer is their mean.")
    dataset: str
    target: str = Field(description="fine or coarse")
    size: int = Field(description="Images are fitted to size × size pixels.")
    step: int | None = Field(None, description="The checkpoint's step; null when no image could be read.")
    epoch: int | None = None
    sha256: str | None = Field(None, description="Hash of the checkpoint's file.")

    @model_validator(mode="after")
    def members_of_an_ensemble(self) -> ModelPublic:
        self.members = members_of(self.run) if JOINT in self.run else None
        return self


class TimingPublic(BaseModel):
    """Milliseconds; of several images, the slowest one's."""

    queue: float
    load: float
    decode: float
    run: float


class ImageFault(BaseModel):
    code: str
    message: str
    detail: Any = None


class ImageResult(BaseModel):
    predictions: list[PredictionPublic] | None = None
    error: ImageFault | None = None


class Answer(BaseModel):
    model: ModelPublic
    results: list[ImageResult]
    timing_ms: TimingPublic


class Description(BaseModel):
    """Of a network: how many parameters; for one image, floating-point operations, and bytes kept for the way back."""

    parameters: int
    flops: int
    saved_bytes: int


class Target(BaseModel):
    """What a run's network takes, images of `size` × `size`, and the names of what it answers with, in order."""

    size: int
    labels: list[str]


class PredictorClient:
    def __init__(self, settings: Settings, connect_seconds: float = CONNECT_SECONDS) -> None:
        self._path = settings.predictor_socket
        self._connect_seconds = connect_seconds
        self._idle: list[Connection] = []
        self._connections = asyncio.Semaphore(CONNECTIONS)
        self._waiting = 0
        self._waiting_limit = settings.max_queued_predictions
        self.memory = MemoryBudget(IMAGES_IN_MEMORY * settings.max_image_bytes)

    async def predict(self, run_id: str, images: Sequence[bytes], top_k: int, *, pixels: bool = False) -> Answer:
        """The classes of each image, or what is wrong with it, in order. Raises ApiError.

        Images are files, or, as `pixels`, uint8 size × size × 3 as the run's network takes them.
        """
        if self._waiting >= self._waiting_limit:
            raise unavailable("queue_full", "Too many predictions are waiting; try again shortly.")
        lengths = [len(image) for image in images]
        question = {"ask": "predict", "run": run_id, "top_k": top_k, "images": lengths, "pixels": pixels}
        frame = pack(question, *images)
        self._waiting += 1
        try:
            header = await self._ask(frame, ANSWER_SECONDS + ANSWER_SECONDS_PER_IMAGE * len(images))
        finally:
            self._waiting -= 1
        header["model"]["run"] = run_id
        return Answer.model_validate(header)

    async def ping(self) -> None:
        """Raises ApiError 503 where no predictor answers."""
        await self._ask(pack({"ask": "ping"}), ANSWER_SECONDS)

    async def target(self, run_id: str) -> Target:
        """Of a run's network. Raises ApiError."""
        return Target.model_validate(await self._ask(pack({"ask": "target", "run": run_id}), ANSWER_SECONDS))

    async def describe(self, model: ModelSpec, classes: int, size: int, seconds: float = ANSWER_SECONDS) -> Description:
        """Of a network that may never be trained. Raises ApiError: 422 if it cannot be built, 503 after `seconds`."""
        question = {"ask": "describe", "model": model.model_dump(mode="json"), "classes": classes, "size": size}
        return Description.model_validate(await self._ask(pack(question), seconds))

    async def augment(self, spec: TrainSpec, seconds: float = ANSWER_SECONDS) -> bytes:
        """A PNG of some training images as the spec's augmentation changes them. Raises ApiError 503."""
        header = await self._ask(pack({"ask": "augment", "spec": spec.model_dump(mode="json")}), seconds)
        return base64.b64decode(header["png"])

    async def _ask(self, frame: bytes, seconds: float) -> dict[str, Any]:
        try:
            async with asyncio.timeout(seconds), self._connections:
                header = await self._deliver(frame)
        except TimeoutError:
            raise unavailable("predictor_late", "The predictor did not answer in time.") from None
        if error := header.get("error"):
            retry = {"Retry-After": "1"} if error["status"] == 503 else None
            raise ApiError(error["status"], error["code"], error["message"], headers=retry)
        return header

    async def _deliver(self, frame: bytes) -> dict[str, Any]:
        """A predictor that dies before it answers is asked a second time: asking changes nothing."""
        while self._idle:
            connection = self._idle.pop()
            if connection[0].at_eof():  # its predictor is gone
                connection[1].close()
                continue
            with suppress(WireError):
                return await self._exchange(connection, frame)
        for _ in range(2):
            with suppress(WireError):
                return await self._exchange(await self._connect(), frame)
        raise unavailable("predictor_unavailable", "The predictor ended while it worked on this request.")

    async def _exchange(self, connection: Connection, frame: bytes) -> dict[str, Any]:
        reader, writer = connection
        kept = False
        try:
            writer.write(frame)
            await writer.drain()
            header, _ = await receive(reader)
            kept = len(self._idle) < IDLE_CONNECTIONS
        except OSError as error:
            raise WireError(str(error)) from None
        finally:
            if not kept:
                writer.close()
        if kept:
            self._idle.append(connection)
        return header

    async def _connect(self) -> Connection:
        deadline = time.monotonic() + self._connect_seconds
        while True:
            try:
                with socket_address(self._path) as address:
                    return await asyncio.open_unix_connection(address, limit=READ_LIMIT)
            except OSError:
                if time.monotonic() > deadline:
                    raise unavailable("predictor_unavailable", "The predictor is not running.") from None
            await asyncio.sleep(CONNECT_PAUSE)

    async def close(self) -> None:
        while self._idle:
            _, writer = self._idle.pop()
            writer.close()
            with suppress(OSError):
                await writer.wait_closed()


class MemoryBudget:
    """Bytes of uploads held at once: what does not fit is refused rather than swapped out."""

    def __init__(self, limit: int) -> None:
        self._left = limit

    def take(self, count: int) -> None:
        if count > self._left:
            raise unavailable("queue_full", "Too many images are being received; try again shortly.")
        self._left -= count

    def give_back(self, count: int) -> None:
        self._left += count


def unavailable(code: str, message: str) -> ApiError:
    return ApiError(503, code, message, headers={"Retry-After": "2"})
