"""Model aliases: what each is assigned to, its history, and resolving a model to runs."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime

from pydantic import BaseModel, Field, model_validator

from app.errors import ApiError, invalid, not_found
from app.fields import RequestBody
from app.prediction.members import JOINT, members_of
from app.runs.names import LATEST, AliasChange, Aliases
from app.runs.public import RunPublic
from app.runs.runs import Runs
from trainer.rundir.checkpoints import has_checkpoint

MOST_MEMBERS = 8


class Naming(RequestBody):
    """The run, or the runs of an ensemble, to assign a name to."""

    run: str | None = None
    runs: list[str] = Field([], max_length=MOST_MEMBERS)

    @model_validator(mode="after")
    def one_of_the_two(self) -> Naming:
        if (self.run is None) == (not self.runs):
            raise ValueError("either run or runs is needed: runs are an ensemble's members")
        return self

    @property
    def members(self) -> list[str]:
        return list(dict.fromkeys(self.runs)) if self.run is None else [self.run]


class MovePublic(BaseModel):
    """`run` is null if the name was assigned to an ensemble, of `runs`, or, if `runs` is empty, was removed."""

    run: str | None
    runs: list[str] = Field(description="The run, or the ensemble's members.")
    time: datetime


class ModelAlias(BaseModel):
    """`history` lists all assignments of the name, newest first."""

    name: str
    run: str | None = Field(description="Null for an ensemble.")
    runs: list[str] = Field(description="The run, or the ensemble's members.")
    since: datetime
    history: list[MovePublic]


class ModelRegistry:
    def __init__(self, runs: Runs) -> None:
        self.runs = runs
        self.aliases: Aliases = runs.aliases

    async def find(self, model: str) -> str:
        """As `resolve`, in a thread for "latest", the only model that needs the database."""
        return await asyncio.to_thread(self.resolve, model) if model == LATEST else self.resolve(model)

    def resolve(self, model: str) -> str:
        """Return the id of the run that `model` names: a run's id, an alias, or "latest", the latest finished run.

        For an ensemble, return its members' ids, joined (app.prediction.members.members_of). Raises ApiError 404: there
        is no such model; 409: no run has finished.
        """
        if model == LATEST:
            latest = self.runs.latest_finished()
            if latest is None:
                raise ApiError(409, "no_model", "There is no finished run to predict with yet.")
            return latest.id
        if named := self.aliases.runs_of(model):
            return JOINT.join(named)
        if not self.runs.is_kept(model):
            raise not_found("run", model)
        return model

    def resolve_trained(self, model: str) -> str:
        """As `resolve`. Also raises ApiError 409: a run has no checkpoint yet."""
        resolved = self.resolve(model)
        for run_id in members_of(resolved):
            if not has_checkpoint(self.runs.folder(run_id)):
                raise ApiError(409, "no_checkpoint", "This run has no checkpoint to predict with yet.")
        return resolved

    def every(self) -> list[ModelAlias]:
        changes = self.aliases.history()
        return [_alias(name, changes) for name in self.aliases.current()]

    def get(self, name: str) -> ModelAlias:
        if not self.aliases.runs_of(name):
            raise not_found("model", name)
        return _alias(name, self.aliases.history())

    def put(self, name: str, run_ids: Sequence[str]) -> ModelAlias:
        """Assign the alias `name` to a run, or to an ensemble of several.

        Raises ApiError 404: there is no such run; 409: one has no checkpoint; 422: the name is not valid, or the runs
        differ in dataset or target.
        """

        def check() -> None:
            for run_id in run_ids:
                if not self.runs.checkpoints(run_id):
                    which = "This run" if len(run_ids) == 1 else f"The run {run_id}"
                    raise ApiError(409, "no_checkpoint", f"{which} has no checkpoint to predict with yet.")
            questions = {question(self.runs.get(run_id)) for run_id in run_ids}
            if len(questions) > 1:
                reason = "an ensemble's runs have learnt the same data and the same target: their answers are averaged"
                raise invalid([(["runs"], reason)])

        self.aliases.put(name, run_ids, check)
        return self.get(name)

    def remove(self, name: str) -> None:
        self.aliases.remove(name)

    def representative(self, model: str) -> RunPublic:
        """Return the run that a page shows for a model (see `as_one`). Raises ApiError 404, 409."""
        return as_one([self.runs.get(run) for run in members_of(self.resolve(model))])

    def named(self) -> list[tuple[str, RunPublic]]:
        """Return each alias with the run that a page shows for it. Aliases of deleted runs are left out."""
        return [(name, as_one(runs)) for name, runs in self.members()]

    def members(self) -> list[tuple[str, tuple[RunPublic, ...]]]:
        """Return each alias with its run, or its ensemble's runs. Aliases of deleted runs are left out."""
        found = []
        for name, change in self.aliases.current().items():
            try:
                found.append((name, tuple(self.runs.get(run) for run in change.members)))
            except ApiError:
                continue
        return found


def as_one(runs: Sequence[RunPublic]) -> RunPublic:
    """Return the run; for an ensemble, its first run with the ensemble's name, without its own metrics."""
    first = runs[0]
    if len(runs) == 1:
        return first
    called = f"ensemble of {first.name} and {len(runs) - 1} more"
    return first.model_copy(update={"name": called, "best_acc": None, "best_epoch": None})


def question(run: RunPublic) -> str:
    """Return a key of the run's dataset and target. Predictions of runs with the same key can be averaged."""
    return f"{run.dataset} {run.train_spec.dataset.sha256} {run.train_spec.target}"


def _alias(name: str, changes: list[AliasChange]) -> ModelAlias:
    own = [change for change in changes if change.name == name]
    now = own[-1]
    history = [
        MovePublic(run=change.run, runs=list(change.members), time=_moment(change.time)) for change in reversed(own)
    ]
    return ModelAlias(name=name, run=now.run, runs=list(now.members), since=_moment(now.time), history=history)


def _moment(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)
