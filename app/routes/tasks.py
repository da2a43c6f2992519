from __future__ import annotations

from fastapi import APIRouter

from app.deps import TasksDep
from app.errors import described
from app.tasks import TaskPublic

router = APIRouter(prefix="/api/tasks", tags=["tasks"])


@router.get("")
def list_tasks(tasks: TasksDep) -> list[TaskPublic]:
    return tasks.list()


@router.get("/{task_id}", responses=described({404: "No such task"}))
def get(task_id: str, tasks: TasksDep) -> TaskPublic:
    return tasks.get(task_id)
