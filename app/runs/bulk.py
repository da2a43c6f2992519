"""One action on many runs. Each run succeeds or is refused independently of the others."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import BaseModel, Field, ValidationError, model_validator

from app.errors import ApiError
from app.fields import Line, RequestBody, Tag
from app.runs.launching import Launcher
from app.runs.queue import Queue
from app.runs.requests import CloneRequest, ResumeRequest, RunPatch
from app.runs.runs import Runs
from trainer.spec.preset import SpecError

MAX_RUNS = 1000
MAX_CLONES = 100

log = logging.getLogger(__name__)

Action = Literal["stop", "resume", "clone", "move", "delete", "tag", "untag", "star", "unstar"]


class BulkRequest(RequestBody):
    """`to` is for move: to the front or the end of the queue, where the runs keep their order."""

    ids: Annotated[list[Line], Field(min_length=1, max_length=MAX_RUNS)]
    action: Action
    tag: Tag | None = None
    to: Literal["first", "last"] | None = None

    @model_validator(mode="after")
    def details_match_action(self) -> BulkRequest:
        if (self.tag is not None) != (self.action in ("tag", "untag")):
            raise ValueError("tag and untag, and no other action, need a tag")
        if (self.to is not None) != (self.action == "move"):
            raise ValueError("move, and no other action, needs a place to move to")
        if self.action == "clone" and len(self.ids) > MAX_CLONES:
            raise ValueError(f"at most {MAX_CLONES} runs are cloned at once")
        return self


class BulkResult(BaseModel):
    id: str
    done: bool
    changed: bool = Field(False, description="Whether the run was changed: one that had the tag already was not")
    reason: str = Field("", description="Why it was refused")
    clone: str | None = Field(None, description="The id of the new run")


class BulkAnswer(BaseModel):
    results: list[BulkResult]


@dataclass(frozen=True)
class Actors:
    runs: Runs
    launcher: Launcher
    queue: Queue


def act_on(request: BulkRequest, runs: Runs, launcher: Launcher, queue: Queue) -> BulkAnswer:
    """Return one result per run, in the order of the request."""
    actors = Actors(runs, launcher, queue)
    ids = list(dict.fromkeys(request.ids))
    found = {run_id: _one(actors, run_id, request) for run_id in _in_turn(actors, ids, request)}
    return BulkAnswer(results=[found[run_id] for run_id in ids])


def _in_turn(actors: Actors, ids: Sequence[str], request: BulkRequest) -> Sequence[str]:
    """Return the order in which to act: moved one after the other to one end, the runs keep their order."""
    if request.action == "clone":
        return ids[::-1]  # the list shows the newest first
    if request.action != "move":
        return ids
    places = actors.runs.queue_places()
    return sorted(ids, key=lambda run_id: places.get(run_id, 0), reverse=request.to == "first")


def _one(actors: Actors, run_id: str, request: BulkRequest) -> BulkResult:
    try:
        return _act(actors, run_id, request)
    except (ApiError, SpecError) as error:
        return BulkResult(id=run_id, done=False, reason=str(error))
    except ValidationError:
        return BulkResult(id=run_id, done=False, reason="A run has at most 30 tags.")
    except Exception:  # the others are still to be acted on
        log.exception("%s of run %s failed", request.action, run_id)
        return BulkResult(id=run_id, done=False, reason="Something went wrong; the server's log has the details.")


def _act(actors: Actors, run_id: str, request: BulkRequest) -> BulkResult:
    """Raises ApiError and SpecError, as the single actions do; ValidationError: too many tags."""
    runs, changed, clone = actors.runs, True, None
    match request.action:
        case "stop":
            runs.stop(run_id)
        case "resume":
            runs.resume(run_id, ResumeRequest(extend_epochs=0))
        case "clone":
            clone = actors.launcher.clone(run_id, CloneRequest(from_step=None)).id
        case "move":
            actors.queue.move(run_id, "next" if request.to == "first" else "last")
        case "delete":
            runs.delete(run_id)
        case "star" | "unstar":
            runs.patch(run_id, RunPatch(starred=request.action == "star"))
        case "tag" | "untag":
            before = runs.get(run_id).tags
            others = [tag for tag in before if tag != request.tag]
            added = [request.tag] if request.action == "tag" and request.tag else []
            changed = (request.tag in before) != (request.action == "tag")
            if changed:
                runs.patch(run_id, RunPatch.model_validate({"tags": [*others, *added]}))
    return BulkResult(id=run_id, done=True, changed=changed, clone=clone)
