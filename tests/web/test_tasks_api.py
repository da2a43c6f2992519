"""Tasks over HTTP: cancelling and deleting frees what they kept, and what cannot be done is refused."""

from __future__ import annotations

import httpx
import pytest
from sqlmodel import select

from app.storage.db import Database
from app.storage.tables import Status, Task
from tests.conftest import Server
from tests.web.errors import assert_error
from tests.web.zips import GOOD, archive, nothing_written

FILE = {"file": ("x.zip", archive(GOOD))}


def put(web: Server, task_id: str, status: Status) -> None:
    database = Database(web.settings.url)
    with database.write() as session:
        session.exec(select(Task).where(Task.id == task_id)).one().status = status
    database.close()


@pytest.fixture
def task(api: httpx.Client) -> str:
    answer = api.post("/api/datasets", files=FILE, data={"name": "insects"})
    assert answer.status_code == 202, answer.text
    return str(answer.json()["id"])


def test_a_queued_task_is_cancelled_at_once_and_its_upload_deleted(api: httpx.Client, web: Server, task: str) -> None:
    upload = web.settings.tasks / task / "upload.zip"
    assert upload.exists()
    answer = api.post(f"/api/tasks/{task}/cancel")
    assert (answer.status_code, answer.json()["status"]) == (202, "stopped")
    assert answer.json()["finished_at"]
    assert not upload.exists()
    assert_error(api.post(f"/api/tasks/{task}/cancel"), 409)
    assert_error(api.post(f"/api/tasks/{task}/retry", json={}), 409)
    assert api.get(f"/api/tasks/{task}").json()["status"] == "stopped"


def test_a_deleted_task_leaves_nothing(api: httpx.Client, web: Server) -> None:
    with nothing_written(web):
        for status in (Status.QUEUED, Status.FAILED, Status.STOPPED, Status.FINISHED):
            task = api.post("/api/datasets", files=FILE, data={"name": "insects"}).json()["id"]
            put(web, task, status)
            assert api.delete(f"/api/tasks/{task}").status_code == 204
            assert_error(api.get(f"/api/tasks/{task}"), 404)
            assert_error(api.delete(f"/api/tasks/{task}"), 404)
            assert task not in [item["id"] for item in api.get("/api/tasks").json()]


@pytest.mark.parametrize("status", [Status.STARTING, Status.RUNNING, Status.STOPPING])
def test_an_active_task_is_cancelled_before_it_is_deleted(
    api: httpx.Client, web: Server, task: str, status: Status
) -> None:
    put(web, task, status)
    assert_error(api.delete(f"/api/tasks/{task}"), 409)
    answer = api.post(f"/api/tasks/{task}/cancel")
    assert answer.status_code == (409 if status == Status.STOPPING else 202)
    assert api.get(f"/api/tasks/{task}").json()["status"] == "stopping"
    assert (web.settings.tasks / task / "upload.zip").exists()  # its process may be reading it
    assert_error(api.delete(f"/api/tasks/{task}"), 409)


@pytest.mark.parametrize("status", [Status.FINISHED, Status.FAILED])
def test_a_task_that_has_ended_is_not_cancelled(api: httpx.Client, web: Server, task: str, status: Status) -> None:
    put(web, task, status)
    assert_error(api.post(f"/api/tasks/{task}/cancel"), 409)
    assert api.get(f"/api/tasks/{task}").json()["status"] == status


@pytest.mark.parametrize("path", ["none", "..%2f..", "0000000000"])
def test_tasks_that_are_not_there(api: httpx.Client, path: str) -> None:
    assert_error(api.delete(f"/api/tasks/{path}"), 404)
    assert_error(api.post(f"/api/tasks/{path}/cancel"), 404)


def test_other_sites_cannot_cancel_or_delete(api: httpx.Client, task: str) -> None:
    other = {"Sec-Fetch-Site": "cross-site", "Origin": "https://elsewhere.test"}
    assert api.post(f"/api/tasks/{task}/cancel", headers=other).status_code == 403
    assert api.delete(f"/api/tasks/{task}", headers=other).status_code == 403
    assert api.get(f"/api/tasks/{task}").json()["status"] == "queued"
