"""Datasets and tasks over HTTP: what is accepted, and what is rejected without leaving files behind."""

from __future__ import annotations

import io
from typing import Any

import httpx
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
        ({"name": "x", "source": "torchvision:CIFAR100", "size": 33}, "size"),
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
        ({"name": "x", "size": "33"}, "size"),
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


def test_a_data_set_is_described_with_its_images(api: httpx.Client) -> None:
    record = api.get("/api/datasets/shapes100").json()
    assert [item["name"] for item in api.get("/api/datasets").json()] == ["shapes100"]
    assert (len(record["classes"]), len(record["superclasses"]), record["size"]) == (100, 20, 32)
    image = api.get("/api/datasets/shapes100/images/test/0.png")
    assert image.headers["content-type"] == "image/png"
    assert Image.open(io.BytesIO(image.content)).size == (32, 32)
