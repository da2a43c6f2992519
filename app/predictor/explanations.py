"""Explanations of single predictions, computed in portions so that predictions run in between."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from trainer.data.format import Images
from trainer.inference.classifier import Classifier, NoCheckpoint, OutputNotFinite
from trainer.inference.saliency import Saliency, saliency

MAX_EXPLANATIONS = 16  # in the queue, including the one in progress; with the slowest networks a second each

log = logging.getLogger(__name__)


class TooManyExplanations(Exception):
    """MAX_EXPLANATIONS are waiting."""


@dataclass(frozen=True)
class Explained:
    """An occlusion map and its durations in milliseconds. `cold`: the model was loaded for this request."""

    step: int | None
    epoch: int | None
    sha256: str
    saliency: Saliency
    cold: bool
    queue: float
    load: float
    run: float


class Explanation:
    """An explanation in progress. It uses the same checkpoint from beginning to end."""

    def __init__(self, run: str, image: Images, index: int | None, loop: asyncio.AbstractEventLoop) -> None:
        self.future: asyncio.Future[Explained] = loop.create_future()
        self._run, self._image, self._index, self._loop = run, image, index, loop
        self._since = time.perf_counter()
        self._classifier: Classifier | None = None
        self._portions: Iterator[Saliency | None] = iter(())
        self._cold, self._queue, self._load, self._computed = False, 0.0, 0.0, 0.0

    def run_portion(self, models: Callable[[str], tuple[Classifier, bool]]) -> bool:
        """Compute one portion; return whether it was the last. Called by the inference thread only."""
        if self.future.cancelled():  # the caller hung up
            return True
        try:
            found = self._next(models)
        except Exception as error:  # top level of the thread: passed on to the caller
            if not isinstance(error, NoCheckpoint | OutputNotFinite):
                log.exception("an explanation failed")
            self._loop.call_soon_threadsafe(_settle, self.future, error)
            return True
        if found is not None:
            self._loop.call_soon_threadsafe(_settle, self.future, found)
        return found is not None

    def _next(self, models: Callable[[str], tuple[Classifier, bool]]) -> Explained | None:
        started = time.perf_counter()
        if self._classifier is None:
            self._queue = 1e3 * (started - self._since)
            self._classifier, self._cold = models(self._run)
            self._portions = saliency(self._classifier, self._image, self._index)
            loaded = time.perf_counter()
            self._load = 1e3 * (loaded - started)
            started = loaded
        found = next(self._portions)
        self._computed += 1e3 * (time.perf_counter() - started)
        if found is None:
            return None
        by = self._classifier
        return Explained(by.step, by.epoch, by.sha256, found, self._cold, self._queue, self._load, self._computed)


def _settle(future: asyncio.Future[Explained], outcome: Explained | Exception) -> None:
    if future.done():
        return
    if isinstance(outcome, Explained):
        future.set_result(outcome)
    else:
        future.set_exception(outcome)
