from __future__ import annotations

from typing import Literal

from fastapi import APIRouter

from app.deps import TasksDep
from app.errors import described
from app.run_models import Request
from app.tasks import TaskPublic

router = APIRouter(prefix="/api/tasks", tags=["tasks"])


@router.get("")
def list_tasks(tasks: TasksDep) -> list[TaskPublic]:
    return tasks.list()


@router.get("/{task_id}", responses=described({404: "No such task"}))
def get(task_id: str, tasks: TasksDep) -> TaskPublic:
    return tasks.get(task_id)


class RetryRequest(Request):
    on_unreadable: Literal["refuse", "skip"] = "refuse"


@router.post(
    "/{task_id}/retry",
    status_code=202,
    responses=described({404: "No such task", 409: "The task has not failed, or its upload is gone"}),
)
def retry(task_id: str, tasks: TasksDep, body: RetryRequest) -> TaskPublic:
    """Do a failed task again, on the upload that it has kept: with unreadable images left out, where that is asked."""
    return tasks.retry(task_id, {"on_unreadable": body.on_unreadable})
