"""Zips are received into the home, written once, whatever form they are sent in."""

from __future__ import annotations

import random
import socket
from pathlib import Path

import httpx
import pytest
from sqlmodel import select

from app.storage.db import Database
from app.storage.tables import Status, Task
from tests.conftest import Server, wait_for
from tests.web.errors import assert_error
from tests.web.zips import GOOD, archive

ZIP = archive({**GOOD, "ant/noise.png": random.Random(0).randbytes(3 << 20)})
FORM = "multipart/form-data; boundary=b"


def form(disposition: str, name: str = "mine") -> bytes:
    field = f'--b\r\nContent-Disposition: form-data; name="name"\r\n\r\n{name}\r\n'
    file = f"--b\r\nContent-Disposition: form-data; {disposition}\r\n\r\n"
    return field.encode() + file.encode() + ZIP + b"\r\n--b--\r\n"


def send(client: httpx.Client, body: bytes, kind: str = FORM, path: str = "/api/datasets") -> httpx.Response:
    return client.post(path, content=body, headers={"content-type": kind})


@pytest.mark.parametrize(
    ("disposition", "label"),
    [
        ('name="file"; filename="birds.zip"', "birds.zip"),
        ("name=\"file\"; filename*=utf-8''V%C3%B6gel.zip", "Vögel.zip"),
        ("filename=birds.zip; name=file", "birds.zip"),
    ],
)
def test_a_zip_is_taken_however_its_name_is_written(api: httpx.Client, disposition: str, label: str) -> None:
    for kind in (FORM, "Multipart/Form-Data; boundary=b"):
        answer = send(api, form(disposition), kind)
        assert answer.status_code == 202, answer.text
        assert answer.json()["request"]["label"] == label
        assert answer.headers["location"] == f"/api/tasks/{answer.json()['id']}"
    batch = send(api, form(disposition), "MULTIPART/FORM-DATA; Boundary=b", "/api/predict/batch")
    assert_error(batch, 422, "name")  # the form is read: that field is not one of a batch


def test_fields_and_files_that_are_not_expected_are_named(api: httpx.Client, web: Server) -> None:
    assert_error(send(api, form('name="file"')), 422, "file")
    assert_error(send(api, form('name="zip"; filename="a.zip"')), 422, "file")
    assert_error(send(api, form('name="file"; filename="a.zip"', "x" * (2 << 20))), 413)
    two = form('name="file"; filename="a.zip"').removesuffix(b"--b--\r\n")
    assert_error(send(api, two + form('name="file"; filename="b.zip"')), 400)
    assert_error(send(api, form('name="file"; filename="a.zip"')[:-20]), 400)
    assert not list(web.settings.uploads.iterdir())


def test_a_task_can_be_retried_without_a_body(api: httpx.Client, web: Server) -> None:
    task = send(api, form('name="file"; filename="a.zip"')).json()["id"]
    assert_error(api.post(f"/api/tasks/{task}/retry"), 409)  # it has not failed
    database = Database(web.settings.url)
    with database.write() as session:
        session.exec(select(Task).where(Task.id == task)).one().status = Status.FAILED
    database.close()
    answer = api.post(f"/api/tasks/{task}/retry")
    assert answer.status_code == 202, answer.text
    assert answer.headers["location"] == f"/api/tasks/{answer.json()['id']}"


def begin(server: Server) -> socket.socket:
    """Send all but the last byte of an upload, and wait until most of it is in the home."""
    body = form('name="file"; filename="a.zip"')
    head = f"POST /api/datasets HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: {FORM}\r\nContent-Length: {len(body)}"
    connection = socket.create_connection(("127.0.0.1", server.settings.port), timeout=30)
    connection.sendall(f"{head}\r\n\r\n".encode() + body[:-1])
    wait_for(lambda: [path for path in received(server) if path.stat().st_size > 1 << 20], 30, "the upload")
    return connection


def received(server: Server) -> list[Path]:
    return list(server.settings.uploads.glob("*"))


def test_an_upload_is_written_once(web: Server) -> None:
    with begin(web) as connection:
        (path,) = received(web)
        inode = path.stat().st_ino
        connection.sendall(b"\n")
        assert connection.recv(1000).startswith(b"HTTP/1.1 202")
    assert inode in [kept.stat().st_ino for kept in web.settings.tasks.glob("*/upload.zip")]
    assert received(web) == []


def test_what_a_killed_process_has_received_is_deleted_at_the_start(server: Server) -> None:
    server.start("web")
    with begin(server):
        server.kill("web")
    assert len(received(server)) == 1
    server.start("web")
    assert received(server) == []


def test_an_upload_that_is_cut_off_leaves_nothing(web: Server) -> None:
    with begin(web):
        pass
    wait_for(lambda: received(web) == [], 30, "the file to be deleted")
