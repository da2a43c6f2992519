"""Searches: created, listed, stopped and continued. Each is a directory of the home; its trials are runs.

searches/<id>/search.json   the request, and when it was made
searches/<id>/meta.jsonl    what people asked for afterwards, and how it ended
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from app.errors import ApiError, not_found
from app.runs.launching import Launcher
from app.runs.requests import NewRun
from app.runs.runs import Runs
from app.search.requests import Choices, MoreTrials, NewSearch, values_of
from app.search.rungs import rung_steps
from app.search.sampling import own_params
from app.search.trials import State, Trial, trials_of
from app.settings import Settings
from app.storage.changes import publish
from app.storage.db import Database
from app.storage.tables import Status, now
from trainer.rundir.folder import SearchDir, is_job_id
from trainer.rundir.journal import journal, read_journal
from trainer.spec.preset import SpecError, flatten
from trainer.system.durable import write_durably

SELECTED_BY = ("acc", "balanced_acc", "macro_f1", "auc", "loss")


class SearchStatus(StrEnum):
    RUNNING = "running"
    STOPPED = "stopped"
    FINISHED = "finished"
    FAILED = "failed"


class Stored(BaseModel):
    """search.json"""

    model_config = ConfigDict(frozen=True)

    name: str
    created_at: datetime
    request: NewSearch


@dataclass(frozen=True)
class Search:
    """A search as its directory tells it. `trials` and `device_minutes` are its limits with what was added later."""

    id: str
    name: str
    created_at: datetime
    request: NewSearch
    status: SearchStatus
    trials: int | None
    device_minutes: float | None
    error: str | None = None
    winner: str | None = None


class Searches:
    def __init__(self, database: Database, settings: Settings, launcher: Launcher, runs: Runs) -> None:
        self._database = database
        self._settings = settings
        self._launcher = launcher
        self._runs = runs

    def create(self, request: NewSearch) -> Search:
        """Begin a search. Raises SpecError: a setting, or a value of its domain, is invalid."""
        self.check(request)
        search_id = secrets.token_hex(5)
        folder = self.folder(search_id)
        folder.mkdir(parents=True)
        name = request.name or f"{request.preset} {', '.join(field.rsplit('.', 1)[-1] for field in request.space)}"
        stored = Stored(name=name[:200], created_at=now(), request=request)
        write_durably(SearchDir(folder).request, stored.model_dump_json(indent=1).encode())
        self._tell(search_id)
        return self.get(search_id)

    def check(self, request: NewSearch) -> None:
        """Raise SpecError if the search cannot begin: each bound and each choice is tried with the other settings."""
        ready = self._launcher.prepare(self.new_run(request, {}))
        middle = {name: self._ends(name, domain)[0] for name, domain in request.space.items()}
        problems: dict[str, str] = {}
        for name, domain in request.space.items():
            for value in self._ends(name, domain):
                try:
                    self._launcher.prepare(self.new_run(request, {**middle, name: value}))
                except SpecError as error:
                    reason = next(iter(error.fields.values()), str(error))
                    problems.setdefault(f"space.{name}", f"{value}: {reason}")
        if request.pruner == "asha" and ready.spec.budget.minutes is not None:
            problems["pruner"] = (
                "a time budget has no rungs, since its number of epochs is not known: set budget.minutes to null and "
                "epochs to a number, or choose the pruner median"
            )
        if problems:
            raise SpecError(problems)

    @staticmethod
    def _ends(name: str, domain: Any) -> Sequence[Any]:
        if isinstance(domain, Choices):
            return domain.choices
        if domain.step is not None:
            values = values_of(name, domain)
            return [values[0], values[-1]]
        return [domain.low, domain.high]

    def new_run(self, request: NewSearch, params: dict[str, Any], name: str | None = None, group: str = "") -> NewRun:
        """The run of a trial. Its best epoch is chosen by the objective, unless the search says otherwise."""
        figure = request.objective.removeprefix("val/")
        chosen = {"select_by": figure} if figure in SELECTED_BY else {}
        overrides = {**chosen, **request.overrides, **params}
        body = {"dataset": request.dataset, "preset": request.preset, "tags": request.tags, "overrides": overrides}
        return NewRun.model_validate({**body, "name": name, "group": group or None})

    def own_values(self, request: NewSearch) -> dict[str, Any] | None:
        """The values of the first trial, if they are those of the preset."""
        return own_params(request, flatten(self._launcher.prepare(self.new_run(request, {})).spec))

    def get(self, search_id: str) -> Search:
        """Raises ApiError 404."""
        found = self.find(search_id)
        if found is None:
            raise not_found("search", search_id)
        return found

    def all(self) -> list[Search]:
        """All searches, the newest first."""
        names = (path.name for path in self._settings.searches.glob("*"))
        found = [search for name in names if (search := self.find(name)) is not None]
        return sorted(found, key=lambda search: search.created_at, reverse=True)

    def trials(self, search: Search) -> list[Trial]:
        with self._database.read() as session:
            return trials_of(session, search.id, search.request, self._settings.runs)

    def best_run(self, search: Search) -> NewRun:
        """The request of a run like the best trial. Raises ApiError 409: no trial has a value."""
        best = best_of(self.trials(search), minimizes=search.request.minimizes)
        if best is None:
            raise ApiError(409, "no_value", "No trial has a value yet.")
        return self.new_run(search.request, best.params)

    def stop(self, search_id: str) -> Search:
        """End the search: its trials are stopped, and can be looked at and resumed. Raises ApiError 404, 409."""
        search = self.get(search_id)
        if search.status != SearchStatus.RUNNING:
            raise ApiError(409, "not_running", f"The search is {search.status}: there is nothing to stop.")
        journal(self.folder(search_id), "stop")
        for trial in self.trials(search):
            self.stop_trial(trial)
        self._tell(search_id)
        return self.get(search_id)

    def stop_trial(self, trial: Trial) -> None:
        if trial.is_active and trial.status != Status.STOPPING:
            try:
                self._runs.stop(trial.run)
            except ApiError as error:
                if error.status != 409:  # it has ended just now
                    raise

    def resume(self, search_id: str, more: MoreTrials) -> Search:
        """Continue a search that has ended. Raises ApiError 404; 409: it runs, or its limits are used up."""
        search = self.get(search_id)
        if search.status == SearchStatus.RUNNING:
            raise ApiError(409, "running", "The search is running.")
        if search.status == SearchStatus.FINISHED and not (more.trials or more.device_minutes):
            raise ApiError(409, "finished", "The search has finished: say how many trials or minutes to add.")
        journal(self.folder(search_id), "resume", **more.model_dump())
        self._tell(search_id)
        return self.get(search_id)

    def finish(self, search_id: str, winner: str | None) -> None:
        journal(self.folder(search_id), "end", winner=winner)
        self._tell(search_id)

    def fail(self, search_id: str, message: str) -> None:
        journal(self.folder(search_id), "failed", message=message)
        self._tell(search_id)

    def folder(self, search_id: str) -> Path:
        return self._settings.searches / search_id

    def find(self, search_id: str) -> Search | None:
        """The search, None if there is none: its directory was deleted, or is not complete."""
        folder = self.folder(search_id)
        if not is_job_id(search_id):
            return None
        try:
            stored = Stored.model_validate_json(SearchDir(folder).request.read_bytes())
        except (FileNotFoundError, NotADirectoryError, ValidationError):
            return None
        status, error, winner = SearchStatus.RUNNING, None, None
        trials, minutes = stored.request.trials, stored.request.device_minutes
        for line in read_journal(folder):
            match line.get("e"):
                case "stop":
                    status = SearchStatus.STOPPED
                case "resume":
                    status, error, winner = SearchStatus.RUNNING, None, None
                    trials = None if trials is None else trials + line["trials"]
                    minutes = None if minutes is None else minutes + line["device_minutes"]
                case "end":
                    status, winner = SearchStatus.FINISHED, line["winner"]
                case "failed":
                    status, error = SearchStatus.FAILED, line["message"]
        created = stored.created_at.astimezone(UTC)
        return Search(search_id, stored.name, created, stored.request, status, trials, minutes, error, winner)

    def _tell(self, search_id: str) -> None:
        with self._database.write(durable=False) as session:
            publish(session, search_id, "search", {"search": search_id})


def rungs_of(launcher: Launcher, searches: Searches, request: NewSearch) -> tuple[tuple[int, ...], int]:
    """The steps of the rungs, and those of an epoch, with the settings that the search does not vary."""
    plan = launcher.prepare(searches.new_run(request, {})).plan
    return rung_steps(request.pruner, plan.total_steps, plan.steps_per_epoch), plan.steps_per_epoch


def best_of(trials: Sequence[Trial], *, minimizes: bool) -> Trial | None:
    """The best trial among those that were trained furthest. None if no trial has a value."""
    valued = [trial for trial in trials if trial.value is not None and trial.state != State.FAILED]
    deepest = max((trial.rung for trial in valued), default=0)
    final = [trial for trial in valued if trial.rung == deepest]
    return min(final, key=lambda t: ((t.value or 0.0) * (1 if minimizes else -1), t.number), default=None)
