"""A zip of images over HTTP: rejected immediately, or a task that produces a CSV even if its process is killed."""

from __future__ import annotations

import csv
import io
import os
import signal
import zipfile
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from app.storage.db import Database
from app.storage.tables import Status
from app.supervisor import free_port
from tests.app.predictor.predict_home import CLASSES, add_row, encode, make_dataset, make_run, random_image
from tests.conftest import Server, wait_for
from tests.databases import settings_of
from tests.web.errors import assert_error
from tests.web.zips import GOOD, archive, nothing_written, picture
from trainer.data.image_formats import NAMES
from trainer.rundir.events import read_from
from trainer.rundir.lock import lock_holder

RUN, EMPTY = "f13e000000", "e3b7000000"
PICTURES = [encode(random_image(number)) for number in range(50)]


@pytest.fixture(scope="module")
def web(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    home = tmp_path_factory.mktemp("home")
    make_dataset(home)
    make_run(home, RUN)
    make_run(home, EMPTY, steps=())
    settings = settings_of(home, port=free_port("127.0.0.1"))
    database = Database(settings.url)
    database.migrate()
    add_row(database, settings, RUN)
    add_row(database, settings, EMPTY, Status.RUNNING)
    database.close()
    server = Server(home, settings)
    server.start("web")
    yield server
    server.close()


@pytest.fixture(scope="module")
def worker(web: Server) -> None:
    web.start("worker")


@pytest.fixture
def api(web: Server) -> Iterator[httpx.Client]:
    with web.client() as client:
        yield client


def post(api: httpx.Client, data: bytes, **fields: Any) -> httpx.Response:
    return api.post("/api/predict/batch", files={"file": ("photos.zip", data)}, data=fields)


def wait_end(api: httpx.Client, task_id: str) -> dict[str, Any]:
    def ended() -> dict[str, Any] | None:
        task: dict[str, Any] = api.get(f"/api/tasks/{task_id}").json()
        return task if task["status"] in ("finished", "failed") else None

    found = wait_for(ended, 90, "the task's end")
    assert found is not None
    return found


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"no zip at all", id="text"),
        pytest.param(b"", id="empty"),
        pytest.param(archive({}), id="no entries"),
        pytest.param(archive({"notes.txt": b"no image"}), id="no images"),
        pytest.param(archive({**GOOD, "a\nb.png": picture()}), id="newline"),
        pytest.param(archive({"a/" * 16_000 + "x.png": picture()}), id="long name"),
    ],
)
def test_zips_that_are_refused_leave_nothing(api: httpx.Client, web: Server, data: bytes) -> None:
    with nothing_written(web):
        assert_error(post(api, data), 422)


@pytest.mark.parametrize(
    ("fields", "status", "field"),
    [
        ({"top_k": "0"}, 422, "top_k"),
        ({"top_k": "1001"}, 422, "top_k"),
        ({"top_k": "1e9"}, 422, "top_k"),
        ({"more": "1"}, 422, "more"),
        ({"model": "a\x00b"}, 422, "model"),
        ({"model": "../../etc"}, 404, None),
        ({"model": "0000000000"}, 404, None),
        ({"model": EMPTY}, 409, None),
    ],
)
def test_forms_that_are_refused(
    api: httpx.Client, web: Server, fields: dict[str, str], status: int, field: str | None
) -> None:
    with nothing_written(web):
        assert_error(post(api, archive(GOOD), **fields), status, field)


def test_bodies_that_are_no_form_with_a_file(api: httpx.Client, web: Server) -> None:
    with nothing_written(web):
        assert_error(api.post("/api/predict/batch", json={"model": RUN}), 415)
        assert_error(api.post("/api/predict/batch", files={"other": ("x.zip", b"x")}), 422, "file")
        kind = {"content-type": "multipart/form-data; boundary=b"}
        assert_error(api.post("/api/predict/batch", content=b"x", headers=kind), 400)


def test_a_file_is_asked_for_too_early_or_in_vain(api: httpx.Client, web: Server) -> None:
    waiting = post(api, archive(GOOD), model="latest", top_k="3")
    assert waiting.status_code == 202
    task = waiting.json()
    assert (task["kind"], task["status"]) == ("predict", "queued")
    assert task["request"] | {"model": "latest", "run": RUN, "top_k": 3, "label": "photos.zip"} == task["request"]
    assert task["id"] in [item["id"] for item in api.get("/api/tasks", params={"kind": "predict"}).json()]
    assert task["id"] not in [item["id"] for item in api.get("/api/tasks", params={"kind": "dataset"}).json()]
    assert_error(api.get(f"/api/tasks/{task['id']}/file"), 409)
    adding = api.post("/api/datasets", files={"file": ("x.zip", archive(GOOD))}, data={"name": "x"}).json()
    assert_error(api.get(f"/api/tasks/{adding['id']}/file"), 404)
    assert_error(api.get("/api/tasks/0000000000/file"), 404)


@pytest.mark.usefixtures("worker")
def test_a_zip_becomes_a_csv_and_a_bad_image_a_row_with_its_error(api: httpx.Client, web: Server) -> None:
    entries = {f"photo {number}.png": data for number, data in enumerate(PICTURES[:5])} | {
        "__MACOSX/._photo 1.png": b"junk",
        "=1+1.jpg": b"no image",
        "bad": b"no image",
    }
    task = wait_end(api, post(api, archive(entries), model=RUN, top_k=2).json()["id"])
    assert task["status"] == "finished", task["error"]
    assert task["result"] == {"images": 7, "unreadable": 2, "run": RUN, "step": 10}
    assert (task["progress"], task["done"], task["total"]) == (1, 7, 7)
    assert not (web.settings.tasks / task["id"] / "upload.zip").exists()
    answer = api.get(f"/api/tasks/{task['id']}/file")
    assert answer.headers["content-type"].startswith("text/csv")
    assert "attachment" in answer.headers["content-disposition"]
    rows = list(csv.DictReader(io.StringIO(answer.text)))
    assert [(row["file"], row["rank"]) for row in rows[:-2]] == [
        (f"photo {number}.png", rank) for number in range(5) for rank in "12"
    ]
    assert all(row["label"] in CLASSES and 0 < float(row["probability"]) <= 1 and not row["error"] for row in rows[:-2])
    assert [row["file"] for row in rows[-2:]] == ["'=1+1.jpg", "bad"]  # a spreadsheet must not evaluate it
    assert rows[-1]["error"] == f"This is not an image; {NAMES} are read."
    assert api.get(f"/api/tasks/{task['id']}/file", headers={"range": "bytes=0-3"}).text == "file"


@pytest.mark.usefixtures("worker")
def test_a_killed_task_starts_over_and_gives_the_same_file(api: httpx.Client, web: Server) -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        for number in range(3000):
            file.writestr(f"{number}.png", PICTURES[number % len(PICTURES)])
    first, second = (post(api, buffer.getvalue(), model=RUN).json()["id"] for _ in range(2))
    folder = web.settings.tasks / second

    def under_way() -> bool:
        told = folder / "events" / "1.jsonl"
        return told.exists() and any(event.get("done") for event in read_from(told, 0)[0])

    wait_for(under_way, 90, "the task's progress")
    pid = lock_holder(folder)
    assert pid is not None, "it was done already"
    os.kill(pid, signal.SIGKILL)
    assert wait_end(api, second)["result"] == {"images": 3000, "unreadable": 0, "run": RUN, "step": 10}
    assert (folder / "events" / "2.jsonl").exists()
    told = [api.get(f"/api/tasks/{task}/file").content for task in (first, second)]
    assert told[0] == told[1]
    assert told[0].count(b"\n") == 1 + 5 * 3000
    assert sorted(path.name for path in folder.iterdir() if path.is_file()) == sorted(
        ["committed", "lock", "output.log", "owner", "predictions.csv", "result.json", "task.json"]
    )
