"""What a model's name stands for, now and before, and what a model card says."""

from __future__ import annotations

from datetime import UTC, datetime

from pydantic import BaseModel

from app.aliases import LATEST, Aliases, Move
from app.errors import ApiError, not_found
from app.run_models import Request, RunPublic
from app.runs import Runs


class Naming(Request):
    run: str


class MovePublic(BaseModel):
    run: str | None
    time: datetime


class ModelAlias(BaseModel):
    """`history` holds every run that the name has stood for, the latest first; null where it was given up."""

    name: str
    run: str
    since: datetime
    history: list[MovePublic]


class ModelRegistry:
    def __init__(self, runs: Runs) -> None:
        self.runs = runs
        self.aliases: Aliases = runs.aliases

    def resolve(self, model: str) -> str:
        """The id of a run, of a name's run, or of the latest finished run. Raises ApiError 404, 409."""
        if model == LATEST:
            latest = self.runs.latest_finished()
            if latest is None:
                raise ApiError(409, "no_model", "There is no finished run to predict with yet.")
            return latest.id
        named = self.aliases.run_of(model)
        if named is not None:
            return named
        self.runs.exists(model)
        return model

    def resolve_trained(self, model: str) -> str:
        """As resolve. Raises ApiError 409 also where the run has kept no checkpoint yet."""
        run_id = self.resolve(model)
        if not any((self.runs.folder(run_id) / "checkpoints").glob("*.json")):
            raise ApiError(409, "no_checkpoint", "This run has no checkpoint to predict with yet.")
        return run_id

    def every(self) -> list[ModelAlias]:
        moves = self.aliases.moves()
        return [_alias(name, moves) for name in self.aliases.current()]

    def get(self, name: str) -> ModelAlias:
        if self.aliases.run_of(name) is None:
            raise not_found("model", name)
        return _alias(name, self.aliases.moves())

    def put(self, name: str, run_id: str) -> ModelAlias:
        """Raises ApiError 404 where there is no such run, 409 where it has no checkpoint, 422 for the name."""

        def check() -> None:
            if not self.runs.checkpoints(run_id):
                raise ApiError(409, "no_checkpoint", "This run has no checkpoint to predict with yet.")

        self.aliases.put(name, run_id, check)
        return self.get(name)

    def remove(self, name: str) -> None:
        self.aliases.remove(name)

    def named(self) -> list[tuple[str, RunPublic]]:
        """Each name with its run, where that is still there."""
        found = []
        for name, move in self.aliases.current().items():
            try:
                found.append((name, self.runs.get(move.run or "")))
            except ApiError:
                continue
        return found


def _alias(name: str, moves: list[Move]) -> ModelAlias:
    own = [move for move in moves if move.name == name]
    assert own[-1].run is not None
    history = [MovePublic(run=move.run, time=_moment(move.time)) for move in reversed(own)]
    return ModelAlias(name=name, run=own[-1].run, since=_moment(own[-1].time), history=history)


def _moment(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)
