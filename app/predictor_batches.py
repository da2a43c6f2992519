"""The inference thread: takes all that waits for one model, up to a batch, and keeps the last few models warm.

Between two batches it goes on with one explanation, by a few images. A single image for a quick network is answered
without it, since waking a thread and being woken by it is felt there.
"""

from __future__ import annotations

import asyncio
import logging
import os
import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch

from app.prediction.members import members_of
from app.predictor_explanations import MOST_EXPLANATIONS, Explained, Explanation, TooMany
from trainer.data.format import DatasetRecord, Images
from trainer.exported.labels import run_record
from trainer.inference.classifier import (
    BATCH,
    Classifier,
    NoCheckpoint,
    Prediction,
    candidates,
    load_best,
    load_classifier,
)
from trainer.inference.ensemble import ensemble_of
from trainer.inference.out_of_distribution import Familiarity
from trainer.rundir.checkpoints import CheckpointDamaged
from trainer.rundir.folder import read_spec
from trainer.spec.train_spec import TrainSpec

WARM_MODELS = 4
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


class Models:
    """Classifiers by run or ensemble, the least recently used dropped. Used by one thread at a time."""

    def __init__(self, runs: Path, datasets: Path, device: torch.device) -> None:
        self._runs = runs
        self._device = device
        self._warm: OrderedDict[str, tuple[list[int], Classifier]] = OrderedDict()
        self.target: Callable[[str], tuple[TrainSpec, DatasetRecord]] = lru_cache(64)(
            lambda run: _target(runs, datasets, run)
        )

    def get(self, run: str) -> tuple[Classifier, bool]:
        """The best checkpoint, or the mean of an ensemble's, and whether it had to be loaded. Raises NoCheckpoint."""
        changed = self._changed(run)
        stamp, before = self._warm.pop(run, (None, None))
        classifier = before if before is not None and stamp == changed else self._load(run, before)
        self._warm[run] = (changed, classifier)
        while len(self._warm) > WARM_MODELS:
            self._warm.popitem(last=False)
        return classifier, classifier is not before

    def is_warm(self, run: str) -> bool:
        return run in self._warm and self._warm[run][0] == self._changed(run)

    def _changed(self, run: str) -> list[int]:
        return [_changed_at(self._runs / member / "checkpoints") for member in members_of(run)]

    def _load(self, run: str, before: Classifier | None) -> Classifier:
        if len(members := members_of(run)) > 1:
            return ensemble_of([self._load(member, None) for member in members], self.target(run)[1].size)
        folder, (spec, record) = self._runs / run, self.target(run)
        best = next(iter(candidates(folder)), None)
        if best is None:
            raise NoCheckpoint("This run has no checkpoint to predict with yet.")
        if before is not None and before.sha256 == best.sha256:
            return before
        try:
            return load_classifier(folder, best, spec, record, self._device)
        except CheckpointDamaged:
            return load_best(folder, spec, record, self._device)


def _target(runs: Path, datasets: Path, run: str) -> tuple[TrainSpec, DatasetRecord]:
    run = members_of(run)[0]  # the others answer for the same
    spec = read_spec(runs / run)
    return spec, run_record(datasets, runs / run, spec)


def _changed_at(folder: Path) -> int:
    try:
        return folder.stat().st_mtime_ns
    except FileNotFoundError:
        raise NoCheckpoint("This run has no checkpoint to predict with yet.") from None


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
    torch.set_num_threads(max(1, (os.cpu_count() or 1) // 2))


def _deliver(batch: list[_Waiting], outcomes: list[Outcome]) -> None:
    for waiting, outcome in zip(batch, outcomes, strict=True):
        if not waiting.future.done():
            waiting.future.set_result(outcome)


def _refuse(batch: list[_Waiting], error: Exception) -> None:
    for waiting in batch:
        if not waiting.future.done():
            waiting.future.set_exception(error)
