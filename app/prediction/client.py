"""The web process's client of the predictor. It uses the predictor's socket and never imports torch."""

from __future__ import annotations

import asyncio
import base64
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress

from pydantic import BaseModel

from app.errors import ApiError, unavailable
from app.prediction.answers import Answer, SaliencyPublic
from app.prediction.questions import (
    AugmentQuestion,
    DescribeQuestion,
    PingQuestion,
    PredictQuestion,
    Question,
    SaliencyQuestion,
    TargetQuestion,
    header_of,
)
from app.prediction.shares import Shares
from app.prediction.wire import Header, RpcClient, WireError, socket_address
from app.settings import Settings
from trainer.spec.model_spec import ModelSpec
from trainer.spec.train_spec import TrainSpec

# A predictor whose parent was killed is back after about three seconds.
CONNECT_SECONDS = 6.0
CONNECT_PAUSE = 0.05
ANSWER_SECONDS = 30.0
# The predictor applies a deadline per image and decodes two images at a time.
ANSWER_SECONDS_PER_IMAGE = 5.0
# How many times a question is sent when the predictor exits before it answers.
MAX_ATTEMPTS = 3
# Larger questions use a separate connection, so that small ones do not wait behind them.
LARGE_BYTES = 1 << 18


class Description(BaseModel):
    """A network's parameter count, and per image its FLOPs and the bytes saved for the backward pass."""

    parameters: int
    flops: int
    saved_bytes: int


class Target(BaseModel):
    """A run's input size (images of `size` × `size` pixels) and its class names in the order of the outputs."""

    size: int
    labels: list[str]


class PredictorClient:
    def __init__(self, settings: Settings, connect_seconds: float = CONNECT_SECONDS) -> None:
        self._path = settings.predictor_socket
        self._connect_seconds = connect_seconds
        self._connections: dict[bool, RpcClient] = {}  # for large questions and for small ones
        self._opening = asyncio.Lock()
        self._waiting = Shares(settings.max_queued_predictions)

    async def predict(
        self,
        run_id: str,
        images: Sequence[bytes],
        top_k: int,
        *,
        pixels: bool = False,
        calibrated: bool = True,
        client: str = "",
    ) -> Answer:
        """Return the most likely classes of each image, or its error, in the order of `images`. Raises ApiError.

        Images are files, or, with `pixels`, raw uint8 size × size × 3 in the size of the run's input. Clients take
        turns: `client` names who asks. `calibrated`: with the model's temperature, if it has one. If the caller is
        canceled, the predictor stops working on it.
        """
        lengths = tuple(map(len, images))
        question = PredictQuestion(
            run=run_id, lengths=lengths, top_k=top_k, pixels=pixels, calibrated=calibrated, client=client
        )
        with self._counted(client):
            header = await self._ask(question, *images, seconds=ANSWER_SECONDS + ANSWER_SECONDS_PER_IMAGE * len(images))
        header["model"]["run"] = run_id
        return Answer.model_validate(header)

    async def saliency(self, run_id: str, image: bytes, index: int | None, *, client: str = "") -> SaliencyPublic:
        """Return the occlusion map of an image file for class `index`, or for the most likely class.

        `client` as in `predict`. Raises ApiError.
        """
        with self._counted(client):
            header = await self._ask(SaliencyQuestion(run=run_id, index=index, client=client), image)
        header["model"]["run"] = run_id
        return SaliencyPublic.model_validate(header)

    async def ping(self) -> None:
        """Check that a predictor answers. Raises ApiError 503 if none does."""
        await self._ask(PingQuestion())

    async def target(self, run_id: str) -> Target:
        """Return the input size and the class names of a run. Raises ApiError."""
        return Target.model_validate(await self._ask(TargetQuestion(run=run_id)))

    async def describe(self, model: ModelSpec, classes: int, size: int, seconds: float = ANSWER_SECONDS) -> Description:
        """Describe a network without training it. Raises ApiError: 422 if it cannot be built, 503 after `seconds`."""
        question = DescribeQuestion(model=model, classes=classes, size=size)
        return Description.model_validate(await self._ask(question, seconds=seconds))

    async def augment(self, spec: TrainSpec, seconds: float = ANSWER_SECONDS) -> bytes:
        """Return a PNG of some training images with the spec's augmentation applied. Raises ApiError 503."""
        header = await self._ask(AugmentQuestion(spec=spec), seconds=seconds)
        return base64.b64decode(header["png"])

    @contextmanager
    def _counted(self, client: str) -> Iterator[None]:
        if not self._waiting.take(client):
            raise unavailable("queue_full", "Too many predictions are waiting; try again shortly.")
        try:
            yield
        finally:
            self._waiting.give_back(client)

    async def _ask(self, question: Question, *payload: bytes, seconds: float = ANSWER_SECONDS) -> Header:
        try:
            async with asyncio.timeout(seconds):
                header = await self._deliver(header_of(question), *payload)
        except TimeoutError:
            self._drop_stuck()
            raise unavailable("predictor_late", "The predictor did not answer in time.") from None
        if error := header.get("error"):
            retry = {"Retry-After": "1"} if error["status"] == 503 else None
            raise ApiError(error["status"], error["code"], error["message"], headers=retry)
        return header

    async def _deliver(self, question: Header, *payload: bytes) -> Header:
        """Send a question; send it again if the predictor exits before it answers. Questions have no side effects."""
        large = sum(map(len, payload)) > LARGE_BYTES
        for _ in range(MAX_ATTEMPTS):
            connection = self._connections.get(large)
            if connection is None or connection.closed:
                connection = await self._open(large)
            with suppress(WireError):
                return (await connection.ask(question, *payload))[0]
        raise unavailable("predictor_unavailable", "The predictor ended while it worked on this request.")

    async def _open(self, large: bool) -> RpcClient:
        deadline = time.monotonic() + self._connect_seconds
        async with self._opening:
            while (connection := self._connections.get(large)) is None or connection.closed:
                try:
                    with socket_address(self._path) as address:
                        loop = asyncio.get_running_loop()
                        _, self._connections[large] = await loop.create_unix_connection(RpcClient, address)
                except OSError:
                    if time.monotonic() > deadline:
                        raise unavailable("predictor_unavailable", "The predictor is not running.") from None
                    await asyncio.sleep(CONNECT_PAUSE)
        return connection

    def _drop_stuck(self) -> None:
        """Close the connections that the predictor does not read, so that unsent frames do not pile up."""
        for connection in self._connections.values():
            if connection.is_stuck:
                connection.close()

    async def close(self) -> None:
        for connection in self._connections.values():
            connection.close()
