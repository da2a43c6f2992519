"""One action on many runs. Each run succeeds or is refused independently of the others."""

from __future__ import annotations

import logging
from typing import Annotated, Literal

from pydantic import BaseModel, Field, ValidationError, model_validator

from app.errors import ApiError
from app.fields import Line, RequestBody, Tag
from app.runs.requests import RunPatch
from app.runs.runs import Runs

MAX_RUNS = 1000

log = logging.getLogger(__name__)

Action = Literal["stop", "delete", "tag", "untag", "star", "unstar"]


class BulkRequest(RequestBody):
    ids: Annotated[list[Line], Field(min_length=1, max_length=MAX_RUNS)]
    action: Action
    tag: Tag | None = None

    @model_validator(mode="after")
    def tag_matches_action(self) -> BulkRequest:
        if (self.tag is not None) != (self.action in ("tag", "untag")):
            raise ValueError("tag and untag, and no other action, need a tag")
        return self


class BulkResult(BaseModel):
    id: str
    done: bool
    reason: str = Field("", description="Why it was refused")


class BulkAnswer(BaseModel):
    results: list[BulkResult]


def act_on(runs: Runs, request: BulkRequest) -> BulkAnswer:
    return BulkAnswer(results=[_one(runs, run_id, request) for run_id in dict.fromkeys(request.ids)])


def _one(runs: Runs, run_id: str, request: BulkRequest) -> BulkResult:
    try:
        match request.action:
            case "stop":
                runs.stop(run_id)
            case "delete":
                runs.delete(run_id)
            case "star" | "unstar":
                runs.patch(run_id, RunPatch(starred=request.action == "star"))
            case "tag" | "untag":
                tags = [tag for tag in runs.get(run_id).tags if tag != request.tag]
                added = [request.tag] if request.action == "tag" and request.tag else []
                runs.patch(run_id, RunPatch.model_validate({"tags": [*tags, *added]}))
    except ApiError as error:
        return BulkResult(id=run_id, done=False, reason=error.message)
    except ValidationError:
        return BulkResult(id=run_id, done=False, reason="A run has at most 30 tags.")
    except Exception:  # the others are still to be acted on
        log.exception("%s of run %s failed", request.action, run_id)
        return BulkResult(id=run_id, done=False, reason="Something went wrong; the server's log has the details.")
    return BulkResult(id=run_id, done=True)
