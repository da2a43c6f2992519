"""The inference thread: predicts the images that wait for one model in a batch, and keeps recent models loaded.

Between two batches it computes one portion of an explanation. A single image for a fast network is predicted in the
calling thread, because two thread switches would be a noticeable part of its latency.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections import deque
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import torch

from app.predictor.explanations import MAX_EXPLANATIONS, Explained, Explanation, TooManyExplanations
from app.predictor.warm import Models
from trainer.data.format import Images
from trainer.inference.classifier import (
    BATCH,
    Classifier,
    NoCheckpoint,
    Prediction,
)
from trainer.inference.out_of_distribution import Familiarity
from trainer.system.parallel import available_cores

Decision = Literal["accept", "unsure"]

FAST_MS = 3.0  # per image: a network that takes less is fast

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Outcome:
    """One image's predictions and its durations in milliseconds. `cold`: the model was loaded for this request."""

    step: int | None
    epoch: int | None
    sha256: str
    predictions: list[Prediction]
    familiarity: Familiarity | None
    calibrated: bool
    decision: Decision | None
    cold: bool
    queue: float
    load: float
    run: float


@dataclass
class _Waiting:
    run: str
    image: Images
    top_k: int
    calibrated: bool
    loop: asyncio.AbstractEventLoop
    future: asyncio.Future[Outcome]
    since: float = field(default_factory=time.perf_counter)


class Batches:
    def __init__(self, models: Models) -> None:
        self._models = models
        self._waiting: deque[_Waiting] = deque()
        self._explanations: deque[Explanation] = deque()
        self._changed = threading.Condition()
        self._busy = threading.Lock()
        self._fast: set[str] = set()  # runs whose last batch took less than FAST_MS per image
        threading.Thread(target=self._work, name="inference", daemon=True).start()

    def submit(
        self, run: str, image: Images, top_k: int, *, calibrated: bool = True, alone: bool = False
    ) -> asyncio.Future[Outcome]:
        """Predict an image, uint8 size × size × 3. `calibrated`: with the model's temperature, if it has one.

        `alone`: no other image is pending, so it may be predicted now.
        """
        loop = asyncio.get_running_loop()
        waiting = _Waiting(run, image, top_k, calibrated, loop, loop.create_future())
        if alone and self._predict_now(waiting):
            return waiting.future
        with self._changed:
            self._waiting.append(waiting)
            self._changed.notify()
        return waiting.future

    def explain(self, run: str, image: Images, index: int | None) -> asyncio.Future[Explained]:
        """Compute an occlusion map; `index` as in `saliency`. Raises TooManyExplanations."""
        explanation = Explanation(run, image, index, asyncio.get_running_loop())
        with self._changed:
            if len(self._explanations) >= MAX_EXPLANATIONS:
                raise TooManyExplanations
            self._explanations.append(explanation)
            self._changed.notify()
        return explanation.future

    def _predict_now(self, waiting: _Waiting) -> bool:
        """Predict in the calling thread. False if that is not possible; the image then has to be queued."""
        if waiting.run not in self._fast or not self._busy.acquire(blocking=False):
            return False
        try:
            if self._waiting or self._explanations or not self._models.is_warm(waiting.run):
                return False
            _deliver([waiting], self._run([waiting]))
        except Exception:  # noqa: BLE001  it recurs in the inference thread, which reports it
            return False
        finally:
            self._busy.release()
        return True

    def _work(self) -> None:
        use_half_the_cores()
        while True:
            if batch := self._next_batch():
                with self._busy:
                    self._answer(batch)
            if self._explanations:
                with self._busy:
                    ended = self._explanations[0].run_portion(self._models.get)
                if ended:
                    with self._changed:
                        self._explanations.popleft()

    def _answer(self, batch: list[_Waiting]) -> None:
        try:
            outcomes = self._run(batch)
        except Exception as error:  # top level of the thread: passed on to the callers
            if not isinstance(error, NoCheckpoint):
                log.exception("a prediction failed")
            batch[0].loop.call_soon_threadsafe(_fail, batch, error)
        else:
            batch[0].loop.call_soon_threadsafe(_deliver, batch, outcomes)

    def _next_batch(self) -> list[_Waiting]:
        """Take up to BATCH images that wait for the same run, in order; empty if only explanations wait.

        Blocks while there is no work.
        """
        with self._changed:
            while not self._waiting and not self._explanations:
                self._changed.wait()
            if not self._waiting:
                return []
            run = self._waiting[0].run
            batch = [w for w in self._waiting if w.run == run][:BATCH]
            taken = {id(w) for w in batch}
            self._waiting = deque(w for w in self._waiting if id(w) not in taken)
        return batch

    def _run(self, batch: list[_Waiting]) -> list[Outcome]:
        started = time.perf_counter()
        classifier, cold = self._models.get(batch[0].run)
        loaded = time.perf_counter()
        images = np.stack([waiting.image for waiting in batch])
        reference = classifier.reference
        plain = classifier.probabilities(images)
        is_calibrated = [waiting.calibrated and classifier.temperature is not None for waiting in batch]
        shown = plain
        if any(is_calibrated):
            shown = torch.where(torch.tensor(is_calibrated)[:, None], classifier.calibrated(plain), plain)
        rows = classifier.most_likely(shown, max(waiting.top_k for waiting in batch))
        scores = plain.amax(1).tolist() if reference else []  # the reference is not calibrated
        load, run = 1e3 * (loaded - started), 1e3 * (time.perf_counter() - loaded)
        (self._fast.add if run < FAST_MS * len(batch) else self._fast.discard)(batch[0].run)
        return [
            Outcome(
                classifier.step,
                classifier.epoch,
                classifier.sha256,
                row[: waiting.top_k],
                reference.compare(scores[index]) if reference else None,
                is_calibrated[index],
                decision_of(classifier, row[0].probability) if waiting.calibrated else None,
                cold,
                1e3 * (started - waiting.since),
                load,
                run,
            )
            for index, (waiting, row) in enumerate(zip(batch, rows, strict=True))
        ]


def decision_of(classifier: Classifier, probability: float) -> Decision | None:
    """Whether a prediction of this calibrated probability is sure enough; None without a threshold."""
    if classifier.threshold is None:
        return None
    return "accept" if probability >= classifier.threshold else "unsure"


def use_half_the_cores() -> None:
    """Limit torch to half of the cores, because training runs at the same time and waiting threads spin.

    OpenMP keeps the number per thread: call this in the thread that computes.
    """
    torch.set_num_threads(max(1, available_cores() // 2))


def _deliver(batch: list[_Waiting], outcomes: list[Outcome]) -> None:
    for waiting, outcome in zip(batch, outcomes, strict=True):
        if not waiting.future.done():
            waiting.future.set_result(outcome)


def _fail(batch: list[_Waiting], error: Exception) -> None:
    for waiting in batch:
        if not waiting.future.done():
            waiting.future.set_exception(error)
