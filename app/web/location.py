"""The Location header of answers that have created a task."""

from __future__ import annotations

from typing import Any

from fastapi import Response

from app.jobs.tasks import TaskPublic

NEW_TASK: dict[int | str, dict[str, Any]] = {
    202: {"headers": {"Location": {"description": "The task", "schema": {"type": "string"}}}}
}


def located(task: TaskPublic, response: Response) -> TaskPublic:
    """The task, its path in the response's Location header."""
    response.headers["Location"] = f"/api/tasks/{task.id}"
    return task
