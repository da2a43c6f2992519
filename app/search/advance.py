"""One step of a search: whatever ended, the next trial is begun, or an earlier one trained further.

Everything is decided from the trials' runs, so that a worker that was killed anywhere is followed by one that decides
the same.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Iterator
from datetime import UTC, datetime

from sqlalchemy.exc import OperationalError
from sqlmodel import select

from app.errors import ApiError
from app.host.workers import seen_workers
from app.runs.launching import Launcher
from app.runs.launching import Trial as Launched
from app.runs.naming import member_name
from app.runs.requests import ResumeRequest
from app.runs.runs import Runs
from app.search.halving import below_median, promotion
from app.search.rungs import rung_steps
from app.search.sampling import next_params
from app.search.searches import Search, Searches, SearchStatus, best_of
from app.search.trials import State, Trial
from app.settings import Settings
from app.storage.db import Database
from app.storage.tables import Run, Status
from trainer.rundir.folder import SearchDir
from trainer.rundir.hold import Hold
from trainer.rundir.journal import journal_length
from trainer.spec.preset import SpecError
from trainer.system.locks import lock_descriptor

MOST_REFUSED = 20  # trials in a row whose combination of values cannot be trained

log = logging.getLogger(__name__)


class Controller:
    """Advances all searches of a home. Several workers may do so: each search is locked meanwhile."""

    def __init__(self, database: Database, settings: Settings) -> None:
        self._database = database
        self._settings = settings
        self._launcher = Launcher(database, settings)
        self._runs = Runs(database, settings)
        self._searches = Searches(database, settings, self._launcher, self._runs)
        self._ended: dict[str, int] = {}  # the length of the journal of each search that has ended
        self._seen: dict[str, object] = {}  # what each search was last decided from

    def advance(self) -> None:
        """Look at every search that runs, and decide anew where one of its trials has changed its status."""
        for search in self._running():
            search_id = search.id
            seen = self._state_of(search)
            if seen == self._seen.get(search_id):
                continue
            folder = self._searches.folder(search_id)
            fd = os.open(SearchDir(folder).lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
            try:
                if lock_descriptor(fd, wait=False):
                    self._advance(self._searches.get(search_id), self._devices())
                    self._seen[search_id] = seen
            except OperationalError:
                raise  # the database cannot be written, which concerns all that the worker does
            except Exception as error:  # one search never stops the worker, or another search
                log.exception("the search %s failed", search_id)
                self._searches.fail(search_id, f"{type(error).__name__}: {error}")
            finally:
                os.close(fd)

    def _devices(self) -> int:
        """The devices with a worker. One that was killed may still be listed beside its successor."""
        return len({(worker.host, worker.device) for worker in seen_workers(self._database)})

    def _running(self) -> Iterator[Search]:
        for folder in self._settings.searches.glob("*"):
            length = journal_length(folder)
            if self._ended.get(folder.name) == length:
                continue
            search = self._searches.find(folder.name)
            if search is not None and search.status == SearchStatus.RUNNING:
                yield search
            elif search is not None:
                self._ended[folder.name] = length

    def _state_of(self, search: Search) -> object:
        """What a decision depends on, read with one query: all trials are read only where it has changed.

        The median of running trials, and a limit that is a time, change by the second.
        """
        with self._database.read() as session:
            query = select(Run.id, Run.status, Run.attempt).where(Run.search == search.id)
            trials = tuple(session.exec(query).all())
        changes_by_itself = search.request.pruner == "median" or search.request.until is not None
        length = journal_length(self._searches.folder(search.id))
        return trials, length, self._devices(), int(time.time()) if changes_by_itself else 0

    def _advance(self, search: Search, devices: int) -> None:
        if search.status != SearchStatus.RUNNING:
            return
        trials = self._searches.trials(search)
        if search.request.pruner == "median":
            for trial in below_median(trials, minimizes=search.request.minimizes):
                self._searches.stop_trial(trial)
        active = sum(trial.is_active for trial in trials)
        while active < max(1, devices):
            if not self._begin_one(search, trials, active):
                return
            active += 1
            trials = self._searches.trials(search)

    def _begin_one(self, search: Search, trials: list[Trial], active: int) -> bool:
        """Begin or continue one trial. False if there is nothing to do until another has ended."""
        spent = sum(trial.seconds for trial in trials) / 60
        late = search.device_minutes is not None and spent >= search.device_minutes
        until = search.request.until
        late = late or (until is not None and datetime.now(UTC) >= until)
        if not late and (chosen := promotion(trials, minimizes=search.request.minimizes)) is not None:
            self._continue(chosen, chosen.rung)
            return True
        if not late and (search.trials is None or next_number(trials) < search.trials) and self._begin(search, trials):
            return True
        if not active:
            self._end(search, trials)
        return False

    def _begin(self, search: Search, trials: list[Trial]) -> bool:
        request, number = search.request, next_number(trials)
        for attempt in range(MOST_REFUSED):
            own = self._searches.own_values(request) if not trials and not attempt else None
            params = own or next_params(request, trials, number, attempt)
            if params is None:
                return False
            new = self._searches.new_run(request, params, f"{member_name(params, request.preset)}", search.name)
            try:
                ready = self._launcher.prepare(new)
            except SpecError as error:
                log.info("%s: %s cannot be trained: %s", search.id, params, error)
                continue
            steps = rung_steps(request.pruner, ready.plan.total_steps, ready.plan.steps_per_epoch)
            held: Hold = "end" if len(steps) == 1 else steps[0]
            self._launcher.queue(new, ready, trial=Launched(search.id, number, params, held))
            return True
        raise RuntimeError(f"{MOST_REFUSED} combinations of values in a row cannot be trained")

    def _continue(self, trial: Trial, rung: int) -> None:
        """Train a trial up to its rung number `rung`, from its checkpoint."""
        held: Hold = "end" if rung >= len(trial.rungs) - 1 else trial.rungs[rung]
        self._runs.resume(trial.run, ResumeRequest(extend_epochs=0), held)

    def _end(self, search: Search, trials: list[Trial]) -> None:
        """Train the best trial to its end and test it; then the search has finished."""
        best = best_of(trials, minimizes=search.request.minimizes)
        if best is None:
            self._searches.finish(search.id, None)
        elif best.status == Status.FINISHED:
            self._searches.finish(search.id, best.run)
        elif best.state == State.COMPLETE or best.state == State.PRUNED:
            self._test(search, best)
        else:
            self._continue(best, len(best.rungs) - 1)

    def _test(self, search: Search, best: Trial) -> None:
        try:
            self._runs.resume(best.run, ResumeRequest(extend_epochs=0))
        except ApiError as error:  # its dataset was deleted, for example
            self._searches.fail(search.id, error.message)


def next_number(trials: list[Trial]) -> int:
    return 1 + max((trial.number for trial in trials), default=-1)  # a trial may have been deleted
