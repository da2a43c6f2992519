"""Explanations of single answers, worked off in portions, so that predictions come between."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from trainer.data.format import Images
from trainer.inference.classifier import Classifier, NoCheckpoint, OutputNotFinite
from trainer.inference.saliency import Saliency, saliency

MOST_EXPLANATIONS = 16  # that wait, one of which is being worked on: of the slowest networks a second each

log = logging.getLogger(__name__)


class TooMany(Exception):
    """As many explanations wait as may."""


@dataclass(frozen=True)
class Explained:
    """A saliency map and where its milliseconds went; `cold` where the model was loaded for it."""

    step: int | None
    epoch: int | None
    sha256: str
    saliency: Saliency
    cold: bool
    queue: float
    load: float
    run: float


class Explanation:
    """One that was asked for. It keeps to the checkpoint that it began with."""

    def __init__(self, run: str, image: Images, index: int | None, loop: asyncio.AbstractEventLoop) -> None:
        self.future: asyncio.Future[Explained] = loop.create_future()
        self._run, self._image, self._index, self._loop = run, image, index, loop
        self._since = time.perf_counter()
        self._classifier: Classifier | None = None
        self._portions: Iterator[Saliency | None] = iter(())
        self._cold, self._queue, self._load, self._worked = False, 0.0, 0.0, 0.0

    def go_on(self, models: Callable[[str], tuple[Classifier, bool]]) -> bool:
        """Work a portion off; whether that was the last. Called by the inference thread alone."""
        try:
            found = self._next(models)
        except Exception as error:  # the edge of the thread: those who asked get to know
            if not isinstance(error, NoCheckpoint | OutputNotFinite):
                log.exception("an explanation failed")
            self._loop.call_soon_threadsafe(_settle, self.future, error)
            return True
        if found is not None:
            self._loop.call_soon_threadsafe(_settle, self.future, found)
        return found is not None

    def _next(self, models: Callable[[str], tuple[Classifier, bool]]) -> Explained | None:
        begun = time.perf_counter()
        if self._classifier is None:
            self._queue = 1e3 * (begun - self._since)
            self._classifier, self._cold = models(self._run)
            self._portions = saliency(self._classifier, self._image, self._index)
            loaded = time.perf_counter()
            self._load = 1e3 * (loaded - begun)
            begun = loaded
        found = next(self._portions)
        self._worked += 1e3 * (time.perf_counter() - begun)
        if found is None:
            return None
        by = self._classifier
        return Explained(by.step, by.epoch, by.sha256, found, self._cold, self._queue, self._load, self._worked)


def _settle(future: asyncio.Future[Explained], outcome: Explained | Exception) -> None:
    if future.done():
        return
    if isinstance(outcome, Explained):
        future.set_result(outcome)
    else:
        future.set_exception(outcome)
