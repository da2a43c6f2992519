"""Manifests and groups over HTTP: looked at before the upload, sent with it, imported by the task."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.conftest import Server, wait_for
from tests.trainer.data.pictures import write_tree
from tests.web.errors import assert_error
from tests.web.zips import archive, nothing_written, picture

FLAT = {f"{number:02d}.png": picture(number) for number in range(20)}
ROWS = "file_name,label,patient\n" + "".join(
    f"{name},{'ab'[index % 2]},p{index % 5}\n" for index, name in enumerate(FLAT)
)
ZIP = {"file": ("flat.zip", archive(FLAT))}


def finished(api: httpx.Client, task: dict[str, Any]) -> dict[str, Any]:
    def ended() -> dict[str, Any] | None:
        found: dict[str, Any] = api.get(f"/api/tasks/{task['id']}").json()
        return found if found["status"] in ("finished", "failed") else None

    return wait_for(ended, 60)


def test_a_layout_by_a_manifest_is_shown_before_anything_is_sent(api: httpx.Client) -> None:
    content = base64.b64encode(ROWS.encode("utf-16")).decode()
    files = [*FLAT, "notes.txt"]
    for body in (
        {"files": files, "manifest": {"name": "rows.csv", "content": content}},
        {"files": [*files, "set.txt", "labels.csv"], "contents": {"labels.csv": content}},
    ):
        planned = api.post("/api/datasets/layout", json={**body, "group_column": "patient"}).json()
        assert [item["name"] for item in planned["classes"]] == ["a", "b"]
        assert (planned["train"], planned["test"], planned["groups"], planned["shared_groups"]) == (16, 4, 5, 0)
        assert planned["columns"] == ["patient"]
        assert planned["validation"].startswith("each run holds out whole groups")
    assert planned["manifest"] == "labels.csv"


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({"content": "file_name,label\n77.png,a\n"}, "line 2: there is no file 77.png"),
        ({"content": "a,b\n"}, "Its columns: a, b."),
        ({"content": "file_name,label\n00.png,a\n01.png,b\n", "group_column": "site"}, "has no column 'site'"),
        ({"group_column": "site"}, "and there is none"),
        ({"group_level": 1}, "some images lie in fewer folders"),
    ],
)
def test_a_layout_that_cannot_be(api: httpx.Client, body: dict[str, Any], message: str) -> None:
    content = body.pop("content", None)
    if content is not None:
        body["manifest"] = {"name": "rows.csv", "content": base64.b64encode(content.encode()).decode()}
    answer = api.post("/api/datasets/layout", json={"files": list(FLAT), **body})
    assert_error(answer, 422)
    assert message in answer.json()["error"]["message"]


@pytest.mark.parametrize("as_file", [True, False])
def test_a_zip_and_its_manifest_become_a_dataset(server: Server, as_file: bool) -> None:
    server.settings.datasets.unlink()
    server.settings.datasets.mkdir()
    server.start("web", "worker")
    with server.client() as api:
        sent = ("rows.csv", ROWS.encode("utf-16")) if as_file else (None, ROWS.encode())
        fields = {"name": "flat", "group_column": "patient", "size": "32"}
        answer = api.post("/api/datasets", files={**ZIP, "manifest": sent}, data=fields)
        assert answer.status_code == 202, answer.text
        task = finished(api, answer.json())
        assert task["result"]["groups"] == 5, task
        record = api.get("/api/datasets/flat").json()
        assert (record["groups"], record["manifest"]) == (5, "rows.csv" if as_file else "manifest")
        assert not [
            path
            for path in (server.settings.tasks / task["id"]).iterdir()
            if "upload" in path.name or "manifest" in path.name
        ]
        page = api.get("/datasets/flat").text
        assert "5 groups, each in one split." in page
        assert "Classes: from" in page


def test_a_folder_of_the_server_takes_a_manifest_too(server: Server, tmp_path: Path) -> None:
    server.settings.datasets.unlink()
    server.settings.datasets.mkdir()
    folder = write_tree(tmp_path / "flat", FLAT)
    server.start("web", "worker")
    with server.client() as api:
        body = {"name": "flat", "source": str(folder), "manifest": ROWS, "group_column": "patient"}
        task = finished(api, api.post("/api/datasets", json=body).json())
        assert task["result"]["groups"] == 5, task
        broken = body | {"name": "broken", "manifest": ROWS + "77.png,a,p0\n"}
        task = finished(api, api.post("/api/datasets", json=broken).json())
        assert (task["status"], task["error"]["code"]) == ("failed", "bad_manifest")
        assert task["error"]["detail"] == ["line 22: there is no file 77.png"]


@pytest.mark.parametrize(
    ("fields", "manifest", "message"),
    [
        ({"group_level": "1"}, ROWS, "00.png lies in fewer than 1 folders"),
        ({"group_level": "0"}, ROWS, None),
        ({"group_column": "site"}, ROWS, "has no column 'site'"),
        ({}, ROWS + "77.png,a,p0\n", "line 22: there is no file 77.png"),
        ({}, "\0\1", "is no text file"),
    ],
)
def test_what_does_not_fit_the_zip_is_refused_at_once(
    api: httpx.Client, web: Server, fields: dict[str, str], manifest: str, message: str | None
) -> None:
    with nothing_written(web):
        sent = {**ZIP, "manifest": ("rows.csv", manifest.encode())}
        answer = api.post("/api/datasets", files=sent, data={"name": "flat", **fields})
        assert_error(answer, 422)
    assert message is None or message in answer.json()["error"]["message"]


def test_a_failed_import_is_tried_again_with_its_manifest(server: Server) -> None:
    server.settings.datasets.unlink()
    server.settings.datasets.mkdir()
    server.start("web", "worker")
    with server.client() as api:
        files = {"file": ("flat.zip", archive(FLAT | {"03.png": b"no image"})), "manifest": ("rows.csv", ROWS.encode())}
        task = finished(api, api.post("/api/datasets", files=files, data={"name": "flat"}).json())
        assert task["error"]["code"] == "unreadable_images"
        again = api.post(f"/api/tasks/{task['id']}/retry", json={"on_unreadable": "skip"}).json()
        assert finished(api, again)["status"] == "finished"
        assert api.get("/api/datasets/flat").json()["skipped"] == 1
