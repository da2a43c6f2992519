"""The inference thread: takes all that waits for one model, up to a batch, and keeps the last few models warm.

Between two batches it goes on with one explanation, by a few images. A single image for a quick network is answered
without it, since waking a thread and being woken by it is felt there.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections import deque
from dataclasses import dataclass, field

import numpy as np
import torch

from app.predictor.explanations import MOST_EXPLANATIONS, Explained, Explanation, TooMany
from app.predictor.warm import Models
from trainer.data.format import Images
from trainer.inference.classifier import (
    BATCH,
    NoCheckpoint,
    Prediction,
)
from trainer.inference.out_of_distribution import Familiarity
from trainer.system.parallel import available_cores

QUICK_MS = 3.0

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Outcome:
    """One image's predictions and where its milliseconds went; `cold` where the model was loaded for it."""

    step: int | None
    epoch: int | None
    sha256: str
    predictions: list[Prediction]
    familiarity: Familiarity | None
    cold: bool
    queue: float
    load: float
    run: float


@dataclass
class _Waiting:
    run: str
    image: Images
    top_k: int
    loop: asyncio.AbstractEventLoop
    future: asyncio.Future[Outcome]
    since: float = field(default_factory=time.perf_counter)


class Batches:
    def __init__(self, models: Models) -> None:
        self._models = models
        self._waiting: deque[_Waiting] = deque()
        self._explanations: deque[Explanation] = deque()
        self._arrived = threading.Condition()
        self._at_work = threading.Lock()
        self._quick: set[str] = set()  # runs whose network took little time at last
        threading.Thread(target=self._work, name="inference", daemon=True).start()

    def submit(self, run: str, image: Images, top_k: int, *, alone: bool = False) -> asyncio.Future[Outcome]:
        """`alone` where no other image is on its way: it may be answered at once."""
        loop = asyncio.get_running_loop()
        waiting = _Waiting(run, image, top_k, loop, loop.create_future())
        if alone and self._answered_at_once(waiting):
            return waiting.future
        with self._arrived:
            self._waiting.append(waiting)
            self._arrived.notify()
        return waiting.future

    def explain(self, run: str, image: Images, index: int | None) -> asyncio.Future[Explained]:
        """Raises TooMany."""
        explanation = Explanation(run, image, index, asyncio.get_running_loop())
        with self._arrived:
            if len(self._explanations) >= MOST_EXPLANATIONS:
                raise TooMany
            self._explanations.append(explanation)
            self._arrived.notify()
        return explanation.future

    def _answered_at_once(self, waiting: _Waiting) -> bool:
        if waiting.run not in self._quick or not self._at_work.acquire(blocking=False):
            return False
        try:
            if self._waiting or self._explanations or not self._models.is_warm(waiting.run):
                return False
            _deliver([waiting], self._run([waiting]))
        except Exception:  # noqa: BLE001  the thread finds it too, and says so
            return False
        finally:
            self._at_work.release()
        return True

    def _work(self) -> None:
        use_half_the_cores()
        while True:
            if batch := self._take():
                with self._at_work:
                    self._answer(batch)
            if self._explanations:
                with self._at_work:
                    ended = self._explanations[0].go_on(self._models.get)
                if ended:
                    with self._arrived:
                        self._explanations.popleft()

    def _answer(self, batch: list[_Waiting]) -> None:
        try:
            outcomes = self._run(batch)
        except Exception as error:  # the edge of the thread: those who asked get to know
            if not isinstance(error, NoCheckpoint):
                log.exception("a prediction failed")
            batch[0].loop.call_soon_threadsafe(_refuse, batch, error)
        else:
            batch[0].loop.call_soon_threadsafe(_deliver, batch, outcomes)

    def _take(self) -> list[_Waiting]:
        """All that wait for the same run, in their order, up to a batch; waits while there is nothing to do at all."""
        with self._arrived:
            while not self._waiting and not self._explanations:
                self._arrived.wait()
            if not self._waiting:
                return []
            run = self._waiting[0].run
            batch = [w for w in self._waiting if w.run == run][:BATCH]
            taken = {id(w) for w in batch}
            self._waiting = deque(w for w in self._waiting if id(w) not in taken)
        return batch

    def _run(self, batch: list[_Waiting]) -> list[Outcome]:
        begun = time.perf_counter()
        classifier, cold = self._models.get(batch[0].run)
        loaded = time.perf_counter()
        images = np.stack([waiting.image for waiting in batch])
        usual = classifier.usual
        rows = classifier.predict(images, max(waiting.top_k for waiting in batch))
        load, run = 1e3 * (loaded - begun), 1e3 * (time.perf_counter() - loaded)
        (self._quick.add if run < QUICK_MS * len(batch) else self._quick.discard)(batch[0].run)
        return [
            Outcome(
                classifier.step,
                classifier.epoch,
                classifier.sha256,
                row[: waiting.top_k],
                usual.compare(row[0].probability) if usual else None,
                cold,
                1e3 * (begun - waiting.since),
                load,
                run,
            )
            for waiting, row in zip(batch, rows, strict=True)
        ]


def use_half_the_cores() -> None:
    """Training goes on meanwhile, and threads that wait would spin in its way. OpenMP keeps the number for each thread:
    the one that computes must call this."""
    torch.set_num_threads(max(1, available_cores() // 2))


def _deliver(batch: list[_Waiting], outcomes: list[Outcome]) -> None:
    for waiting, outcome in zip(batch, outcomes, strict=True):
        if not waiting.future.done():
            waiting.future.set_result(outcome)


def _refuse(batch: list[_Waiting], error: Exception) -> None:
    for waiting in batch:
        if not waiting.future.done():
            waiting.future.set_exception(error)
