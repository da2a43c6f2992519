"""The serving child of the predictor: answers questions on the socket. A fork of a process with torch imported."""

from __future__ import annotations

import asyncio
import base64
import io
import logging
import signal
import socket
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from itertools import count

import numpy as np
import torch
import uvloop

from app.prediction.answers import IMAGE_STATUS
from app.prediction.questions import (
    AugmentQuestion,
    DescribeQuestion,
    PingQuestion,
    PredictQuestion,
    SaliencyQuestion,
    TargetQuestion,
    question_of,
)
from app.prediction.shares import Shares
from app.prediction.wire import BACKLOG, Header, RpcServer
from app.predictor.batches import Batches, Outcome, use_half_the_cores
from app.predictor.decoder_process import DecoderHostExited
from app.predictor.decoders import BadImage, Decoders, is_slow
from app.predictor.explanations import Explained, TooManyExplanations
from app.predictor.fair_queue import Sender
from app.predictor.warm import Models
from app.settings import Settings
from trainer.data.decode_cost import DecodeCost, decode_cost
from trainer.data.errors import DatasetError
from trainer.data.format import DatasetRecord
from trainer.engine.preview import augmented
from trainer.errors import has_lost_device, is_out_of_memory
from trainer.exported.labels import Labels
from trainer.inference.classifier import NoCheckpoint, OutputNotFinite
from trainer.models.build import build_model, count_flops, count_parameters
from trainer.models.device import device_named
from trainer.models.footprint import saved_bytes
from trainer.spec.model_spec import ModelSpec
from trainer.spec.train_spec import TrainSpec

DECODERS = 2

log = logging.getLogger(__name__)


class Refusal(Exception):
    """An error response, with the HTTP `status` that the web process answers."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.header: Header = {"error": {"status": status, "code": code, "message": message}}


def serve(settings: Settings, listener: socket.socket, parent: socket.socket, decoders: socket.socket) -> None:
    """Serve until SIGTERM, or until the parent exits."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the parent decides
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(Predictor(settings, decoders).serve(listener, parent))


class Predictor:
    def __init__(self, settings: Settings, decoders: socket.socket) -> None:
        self._decoder_host = decoders
        self._datasets = settings.datasets
        self._stop = asyncio.Event()
        # Slow images have a limit of their own, so that they do not keep fast ones out.
        self._fast, self._slow = (Shares(settings.max_queued_predictions) for _ in range(2))
        self._requests = count()
        self._models = Models(settings.runs, settings.datasets, device_named(settings.predictor_device))
        self._decoders = Decoders(decoders, DECODERS, settings.max_pixels)

    async def serve(self, listener: socket.socket, parent: socket.socket) -> None:
        loop, stop = asyncio.get_running_loop(), self._stop
        loop.add_signal_handler(signal.SIGTERM, stop.set)
        loop.add_reader(parent, stop.set)
        loop.add_reader(self._decoder_host, stop.set)  # readable once the decoder host exits: the parent restarts both
        use_half_the_cores()
        self._batches = Batches(self._models)
        server = await loop.create_unix_server(lambda: RpcServer(self._answer), sock=listener, backlog=BACKLOG)
        parent.send(b"+")
        await stop.wait()
        server.close()
        self._decoders.close()

    async def _answer(self, header: Header, payload: bytes) -> Header:
        try:
            match question_of(header):
                case PredictQuestion() as question:
                    return await self._predict(question, payload)
                case SaliencyQuestion() as question:
                    return await self._saliency(question, payload)
                case PingQuestion():
                    return {}
                case TargetQuestion() as question:
                    return self._target(question.run)
                case DescribeQuestion() as question:
                    return _describe(question)
                case AugmentQuestion() as question:
                    return self._augment(question.spec)
        except Refusal as refusal:
            return refusal.header
        except NoCheckpoint as error:
            return Refusal(409, "no_checkpoint", str(error)).header
        except OutputNotFinite as error:
            return Refusal(409, "diverged", str(error)).header
        except DatasetError as error:
            return Refusal(409, error.code, error.message).header
        except DecoderHostExited:
            # No answer: this process is about to stop, its connections close, and the client asks the next one.
            await asyncio.get_running_loop().create_future()
            raise
        except FileNotFoundError:
            return Refusal(404, "not_found", "This run's folder is gone.").header
        except Exception as error:  # top level of a request
            log.exception("a prediction failed")
            if is_out_of_memory(error):
                return Refusal(503, "out_of_memory", "The device has no memory left for this model.").header
            if has_lost_device(error):
                self._stop.set()  # the parent starts another process, which can use the GPU again
            return Refusal(503, "predictor_failed", "The predictor failed; its log says why.").header

    def _target(self, run: str) -> Header:
        """Return the size of a run's input images and its class names, without loading the network."""
        spec, record = self._models.target(run)
        return {"size": record.size, "labels": list(Labels.of(spec, record).names)}

    def _augment(self, spec: TrainSpec) -> Header:
        picture = io.BytesIO()
        augmented(self._datasets, spec).save(picture, "PNG")
        return {"png": base64.b64encode(picture.getvalue()).decode()}

    async def _predict(self, question: PredictQuestion, payload: bytes) -> Header:
        run, lengths = question.run, question.lengths
        view = memoryview(payload)
        starts = [sum(lengths[:i]) for i in range(len(lengths))]
        images = [bytes(view[at : at + length]) for at, length in zip(starts, lengths, strict=True)]
        costs = [None if question.pixels else decode_cost(image) for image in images]
        with self._counted(question.client, costs):
            spec, record = self._models.target(run)
            sender = Sender(question.client, next(self._requests))
            calls = [
                self._predict_one(question, image, cost, sender, record)
                for image, cost in zip(images, costs, strict=True)
            ]
            results = [await calls[0]] if len(calls) == 1 else await asyncio.gather(*calls)
        timings = [timing for _, timing, _ in results]
        outcome = next((outcome for _, _, outcome in results if outcome), None)
        return {
            "model": _model(spec, record, outcome),
            "results": [result for result, _, _ in results],
            "calibrated": outcome is not None and outcome.calibrated,
            "cold": any(outcome.cold for _, _, outcome in results if outcome),
            "timing_ms": {
                name: round(max(timing[name] for timing in timings), 3) for name in ("queue", "load", "decode", "run")
            },
        }

    async def _predict_one(
        self, question: PredictQuestion, image: bytes, cost: DecodeCost | None, sender: Sender, record: DatasetRecord
    ) -> tuple[Header, dict[str, float], Outcome | None]:
        """Return a result, durations in ms and the outcome. `image` is a file, or, with no `cost`, uint8 pixels."""
        started = time.perf_counter()
        size = record.size
        try:
            data = (
                image
                if cost is None
                else await self._decoders.decode(image, size, record.fit, sender=sender, cost=cost)
            )
        except BadImage as error:
            timing = {"queue": 0.0, "load": 0.0, "decode": 1e3 * (time.perf_counter() - started), "run": 0.0}
            return {"error": {"code": error.code, "message": error.message}}, timing, None
        decode = 1e3 * (time.perf_counter() - started)
        pixels = np.frombuffer(data, np.uint8).reshape(size, size, 3)
        alone = self._fast.total + self._slow.total == 1
        outcome = await self._batches.submit(
            question.run, pixels, question.top_k, calibrated=question.calibrated, alone=alone
        )
        timing = {"queue": outcome.queue, "load": outcome.load, "decode": decode, "run": outcome.run}
        # orjson encodes dataclasses
        shown = {"predictions": outcome.predictions, "decision": outcome.decision, "familiarity": outcome.familiarity}
        return shown, timing, outcome

    async def _saliency(self, question: SaliencyQuestion, payload: bytes) -> Header:
        run, index, cost = question.run, question.index, decode_cost(payload)
        with self._counted(question.client, [cost]):
            spec, record = self._models.target(run)
            if index is not None and index >= (count := len(Labels.of(spec, record).names)):
                raise Refusal(422, "unknown_class", f"This model's classes are numbered from 0 to {count - 1}.")
            started = time.perf_counter()
            try:
                sender = Sender(question.client, next(self._requests))
                data = await self._decoders.decode(payload, record.size, record.fit, sender=sender, cost=cost)
            except BadImage as error:
                raise Refusal(IMAGE_STATUS.get(error.code, 422), error.code, error.message) from None
            decode = 1e3 * (time.perf_counter() - started)
            pixels = np.frombuffer(data, np.uint8).reshape(record.size, record.size, 3)
            try:
                found = await self._batches.explain(run, pixels, index)
            except TooManyExplanations:
                raise Refusal(503, "queue_full", "Too many explanations are waiting; try again shortly.") from None
        timing = {"queue": found.queue, "load": found.load, "decode": decode, "run": found.run}
        return {
            "model": _model(spec, record, found),
            "prediction": found.saliency.prediction,
            "fall": found.saliency.drop.round(5).astype(float).tolist(),
            "strongest": found.saliency.strongest,
            "cold": found.cold,
            "timing_ms": {name: round(value, 3) for name, value in timing.items()},
        }

    @contextmanager
    def _counted(self, client: str, costs: Sequence[DecodeCost | None]) -> Iterator[None]:
        """Count a request's images as waiting. Raises Refusal if too many wait."""
        slow = sum(cost is not None and is_slow(cost) for cost in costs)
        parts = [(shares, images) for shares, images in ((self._fast, len(costs) - slow), (self._slow, slow)) if images]
        taken = [(shares, images) for shares, images in parts if shares.take(client, images)]
        try:
            if len(taken) < len(parts):
                raise Refusal(503, "queue_full", "Too many predictions are waiting; try again shortly.")
            yield
        finally:
            for shares, images in taken:
                shares.give_back(client, images)


def _model(spec: TrainSpec, record: DatasetRecord, answered: Outcome | Explained | None) -> Header:
    return {
        "dataset": record.name,
        "target": spec.target,
        "size": record.size,
        "step": answered.step if answered else None,
        "epoch": answered.epoch if answered else None,
        "sha256": answered.sha256 if answered else None,
    }


def _describe(question: DescribeQuestion) -> Header:
    """Count the parameters, FLOPs and saved bytes of an untrained network. Nothing is allocated: it is on "meta"."""
    try:
        return _counts(question.model, question.classes, question.size)
    except ValueError as error:
        raise Refusal(422, "invalid_model", str(error)) from None


@lru_cache(maxsize=256)
def _counts(spec: ModelSpec, classes: int, size: int) -> Header:
    with torch.device("meta"):
        model = build_model(spec, classes, spec.input_size or size)
        flops = count_flops(model, spec.input_size or size)
    saved = saved_bytes(spec, classes, spec.input_size or size)
    return {"parameters": count_parameters(model), "flops": flops, "saved_bytes": saved}
