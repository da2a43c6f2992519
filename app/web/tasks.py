from __future__ import annotations

from fastapi import APIRouter, Response

from app.auth.authenticate import Principal
from app.auth.scopes import Scope
from app.errors import not_found
from app.fields import RequestBody
from app.jobs.tasks import TaskPublic
from app.web.assets import Download, download_answers
from app.web.errors import described
from app.web.location import NEW_TASK, located
from app.web.services import PrincipalDep, TasksDep
from trainer.spec.tasks import OnUnreadable, TaskKind

router = APIRouter(prefix="/api/tasks", tags=["tasks"])


@router.get("")
def list_tasks(tasks: TasksDep, kind: TaskKind | None = None) -> list[TaskPublic]:
    """The latest twenty tasks, optionally of one kind."""
    return tasks.list(kind)


@router.get("/{task_id}", responses=described({404: "No such task"}))
def get(task_id: str, tasks: TasksDep, principal: PrincipalDep) -> TaskPublic:
    return visible(tasks.get(task_id), principal)


def visible(task: TaskPublic, principal: Principal | None) -> TaskPublic:
    """The task. Raises ApiError 404: a token without the scope `read` sees tasks that classify images alone.

    It cannot list them, and their ids are random: it sees those that it has started or was told of.
    """
    if principal is not None and Scope.READ not in principal.scopes and task.kind != "predict":
        raise not_found("task", task.id)
    return task


@router.delete(
    "/{task_id}",
    status_code=204,
    responses=described({404: "No such task", 409: "The task is active: cancel it first"}),
)
def delete(task_id: str, tasks: TasksDep) -> None:
    """Delete a task that is queued or has ended, with its upload and its results. A dataset that it added stays."""
    tasks.delete(task_id)


@router.post(
    "/{task_id}/cancel",
    status_code=202,
    responses=described({404: "No such task", 409: "The task has ended, or is being cancelled"}),
)
def cancel(task_id: str, tasks: TasksDep) -> TaskPublic:
    """Cancel a task. A queued one is `stopped` at once, a running one is `stopping` and then `stopped`.

    Its upload is deleted.
    """
    return tasks.cancel(task_id)


@router.get(
    "/{task_id}/file",
    response_class=Download,
    responses=download_answers("text/csv", {404: "No such task, or none that makes a file", 409: "It is not done"}),
)
def file(task_id: str, tasks: TasksDep) -> Download:
    """The CSV of a `predict` task: one row per file and top class, or one row with the error of the file."""
    path = tasks.predictions(task_id)
    return Download(path, filename=f"{task_id}.csv", media_type="text/csv")


class RetryRequest(RequestBody):
    on_unreadable: OnUnreadable = "refuse"


@router.post(
    "/{task_id}/retry",
    status_code=202,
    responses={
        **NEW_TASK,
        **described({404: "No such task", 409: "The task has not failed, or its upload is gone"}),
    },
)
def retry(task_id: str, tasks: TasksDep, response: Response, body: RetryRequest | None = None) -> TaskPublic:
    """Repeat a failed task with its stored upload, optionally skipping unreadable images."""
    return located(tasks.retry(task_id, (body or RetryRequest()).on_unreadable), response)
