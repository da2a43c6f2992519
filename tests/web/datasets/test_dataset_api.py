"""Datasets and tasks over HTTP: what is accepted, and what is rejected without leaving files behind."""

from __future__ import annotations

import io
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
from PIL import Image

from app.storage.tables import Status
from tests.conftest import Server
from tests.web.errors import assert_error
from tests.web.zips import GOOD, archive, nothing_written


@pytest.mark.parametrize("data", [b"no zip at all", b""])
def test_what_is_no_zip_leaves_nothing(api: httpx.Client, web: Server, data: bytes) -> None:
    with nothing_written(web):
        assert_error(api.post("/api/datasets", files={"file": ("x.zip", data)}, data={"name": "mine"}), 422)


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"name": "x"}, "source"),
        ({"name": "x", "source": "torchvision:CIFAR100", "size": 15}, "size"),
        ({"name": "x", "source": "torchvision:CIFAR100", "size": 513}, "size"),
        ({"name": "x", "source": "torchvision:CIFAR100", "size": 32.5}, "size"),
        ({"name": "x", "source": "torchvision:CIFAR100", "extra": 1}, "extra"),
        ({"name": "x", "source": "/no/such/folder"}, "source"),
        ({"name": "x", "source": "app"}, None),
        ({"name": "x", "source": "/etc/hostname"}, None),
        ({"name": "x", "source": "a\x00b"}, None),
        ({"name": "x", "source": "torchvision:None"}, None),
        ({"name": "../x", "source": "shapes100"}, "name"),
        ({"name": "x" * 200, "source": "shapes100"}, "name"),
    ],
)
def test_data_sets_that_cannot_be(api: httpx.Client, web: Server, body: dict[str, Any], field: str | None) -> None:
    with nothing_written(web):
        assert_error(api.post("/api/datasets", json=body), 422, field)


FILE = {"file": ("x.zip", archive(GOOD))}


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({}, "name"),
        ({"name": ""}, "name"),
        ({"name": "a\x00b"}, "name"),
        ({"name": "a\nb"}, "name"),
        ({"name": "x" * 10_240}, "name"),
        ({"name": "<script>"}, "name"),
        ({"name": ".."}, "name"),
        ({"name": "x", "size": "1024"}, "size"),
        ({"name": "x", "size": "64.0"}, "size"),
        ({"name": "x", "size": "²"}, "size"),
        ({"name": "x", "size": "9" * 5000}, "size"),
        ({"name": "x", "fit": "stretch"}, "fit"),
        ({"name": "x", "on_unreadable": "guess"}, "on_unreadable"),
        ({"name": "x", "source": "shapes100"}, "source"),
        ({"name": "x", "more": "1"}, "more"),
    ],
)
def test_forms_that_are_refused(api: httpx.Client, web: Server, fields: dict[str, str], field: str) -> None:
    with nothing_written(web):
        assert_error(api.post("/api/datasets", files=FILE, data=fields), 422, field)


@pytest.mark.parametrize(
    ("kind", "body", "status"),
    [
        ("multipart/form-data", b"x", 400),
        ("multipart/form-data; boundary=b", b"x", 400),
        ("multipart/form-data; boundary=b", b"--b\r\nno header\r\n\r\nx\r\n--b--\r\n", 400),
        ("multipart/form-data; boundary=b", b"--b--\r\n", 422),
        ("application/json", b"{", 400),
        ("application/json", b'{"name": NaN}', 400),
        ("application/json", b"[1]", 422),
        ("application/json", b'{"name": 5}', 422),
        ("", b"", 400),
    ],
)
def test_bodies_that_add_nothing(api: httpx.Client, web: Server, kind: str, body: bytes, status: int) -> None:
    with nothing_written(web):
        assert_error(api.post("/api/datasets", content=body, headers={"content-type": kind}), status)


def test_a_form_takes_one_file_under_its_own_name(api: httpx.Client, web: Server) -> None:
    with nothing_written(web):
        assert_error(api.post("/api/datasets", files=[("file", (name, b"x")) for name in "ab"]), 400)
        assert_error(api.post("/api/datasets", files={"other": ("x.zip", b"x")}, data={"name": "x"}), 422, "file")
        assert_error(api.post("/api/datasets", files={"file": (None, b"x"), "name": (None, b"x")}), 422, "file")


@pytest.mark.parametrize(
    "request_",
    [
        {"files": FILE, "data": {"name": "insects", "size": "64", "fit": "pad", "on_unreadable": "skip"}},
        {"json": {"name": "insects", "source": "shapes100", "size": 64, "fit": "pad", "on_unreadable": "skip"}},
    ],
    ids=["zip", "source"],
)
def test_what_is_taken_becomes_a_task(api: httpx.Client, web: Server, request_: dict[str, Any]) -> None:
    answer = api.post("/api/datasets", **request_)
    assert answer.status_code == 202, answer.text
    task = answer.json()
    assert set(task) >= {"id", "status", "progress", "error", "result"}
    assert task["status"] == Status.QUEUED
    assert task["request"] | {"name": "insects", "size": 64, "fit": "pad", "on_unreadable": "skip"} == task["request"]
    assert api.get(f"/api/tasks/{task['id']}").json() == task
    assert api.get("/api/tasks").json()[0] == task
    assert (web.settings.tasks / task["id"] / "committed").exists()


@pytest.mark.parametrize("make", [os.mkfifo, lambda path: path.symlink_to("/dev/zero")], ids=["pipe", "device"])
def test_a_source_that_is_no_folder_and_no_file_is_refused_at_once(
    api: httpx.Client, web: Server, tmp_path: Path, make: Callable[[Path], object]
) -> None:
    make(tmp_path / "source.zip")
    with nothing_written(web):
        answer = api.post("/api/datasets", json={"name": "x", "source": str(tmp_path / "source.zip")})
        assert_error(answer, 422, "source")
    assert "is neither a folder nor a regular file" in answer.json()["error"]["message"]


def test_a_path_that_the_system_refuses_is_no_failure_of_the_server(api: httpx.Client, web: Server) -> None:
    with nothing_written(web):
        answer = api.post("/api/datasets", json={"name": "x", "source": "/" + "a" * 300})
        assert_error(answer, 422, "source")
    assert "cannot be read: File name too long." in answer.json()["error"]["message"]


def test_a_zip_of_long_names_takes_no_memory_of_the_web_process(api: httpx.Client, web: Server) -> None:
    deep = archive({str(number) + "/a" * 16_000 + "/x.png": b"x" for number in range(3)})
    process = psutil.Process(web.processes["web"].pid)
    before = process.memory_info().rss
    with nothing_written(web):
        assert_error(api.post("/api/datasets", files={"file": ("deep.zip", deep)}, data={"name": "x"}), 422)
    assert process.memory_info().rss - before < 64 << 20


def test_the_layout_of_names_with_many_folders_is_refused(api: httpx.Client) -> None:
    answer = api.post("/api/datasets/layout", json={"files": ["a/" * 500 + f"{number}.png" for number in range(500)]})
    assert_error(answer, 422)
    assert "in more than 64 folders" in answer.json()["error"]["message"]


def test_a_layout_counts_the_files_that_are_no_images(api: httpx.Client) -> None:
    files = [f"{kind}/{number}.{ending}" for kind in "ab" for number in range(3) for ending in ("png", "txt")]
    planned = api.post("/api/datasets/layout", json={"files": files}).json()
    assert (planned["train"], planned["test"], planned["other_files"]) == (4, 2, {".txt": 6})


def test_control_characters_of_an_upload_s_name_are_left_out(api: httpx.Client) -> None:
    body = (
        b'--b\r\nContent-Disposition: form-data; name="name"\r\n\r\nbirds\r\n'
        b'--b\r\nContent-Disposition: form-data; name="file"; filename="a\x1b[2J\x00b.zip"\r\n\r\n'
        + archive(GOOD)
        + b"\r\n--b--\r\n"
    )
    answer = api.post("/api/datasets", content=body, headers={"content-type": "multipart/form-data; boundary=b"})
    assert answer.status_code == 202, answer.text
    assert answer.json()["request"]["label"] == "a[2Jb.zip"


def test_a_data_set_is_described_with_its_images(api: httpx.Client) -> None:
    record = api.get("/api/datasets/shapes100").json()
    assert [item["name"] for item in api.get("/api/datasets").json()] == ["shapes100"]
    assert (len(record["classes"]), len(record["superclasses"]), record["size"]) == (100, 20, 32)
    small = api.get("/api/datasets/shapes100/images/test/0.png", params={"side": 16})
    assert Image.open(io.BytesIO(small.content)).size == (16, 16)
    larger = api.get("/api/datasets/shapes100/images/test/0.png", params={"side": 96})
    image = api.get("/api/datasets/shapes100/images/test/0.png")
    assert larger.content == image.content
    assert image.headers["content-type"] == "image/png"
    assert Image.open(io.BytesIO(image.content)).size == (32, 32)
