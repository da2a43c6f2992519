"""The limits on images to be classified. No model exists: a request that is read whole is answered with 404."""

from __future__ import annotations

import os
import select
import socket
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from app.web.upload_memory import IMAGES_IN_MEMORY
from tests.conftest import Server, wait_for
from tests.web.conftest import web_process
from tests.web.errors import assert_error

LIMIT = 300_000
PART = b'--b\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n%b\r\n'
FORM = "multipart/form-data; boundary=b"


@pytest.fixture(scope="module")
def small_images(tmp_path_factory: pytest.TempPathFactory, shapes: Path) -> Iterator[Server]:
    # A long silence is allowed, so that nothing but the memory ends an upload.
    limits = {"TRACKSIDE_MAX_IMAGE_BYTES": str(LIMIT), "TRACKSIDE_BODY_SECONDS": "600"}
    with web_process(tmp_path_factory.mktemp("images"), shapes, **limits) as server:
        yield server


@pytest.fixture
def client(small_images: Server) -> Iterator[httpx.Client]:
    with small_images.client() as client:
        yield client


def send(client: httpx.Client, body: bytes, kind: str = "image/png") -> httpx.Response:
    return client.post("/api/predict?model=none", content=body, headers={"content-type": kind})


def test_an_upload_that_fills_the_memory_and_stalls_makes_room_for_another(
    client: httpx.Client, small_images: Server
) -> None:
    body = b"".join(PART % bytes(LIMIT - 1000) for _ in range(IMAGES_IN_MEMORY))
    head = (
        f"POST /api/predict HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: {FORM}\r\nContent-Length: {len(body) + 1}\r\n"
    )
    with socket.create_connection(("127.0.0.1", small_images.settings.port), timeout=60) as stalled:
        stalled.sendall(f"{head}\r\n".encode() + body)

        def made_room() -> bool:
            # 503 until the bytes of the stalled upload are two seconds old: not seen on a slow machine.
            assert send(client, os.urandom(LIMIT)).status_code in (404, 503)
            answered, _, _ = select.select([stalled], [], [], 0)
            return bool(answered)

        wait_for(made_room, 60, "room for another upload")
        assert stalled.recv(1000).startswith(b"HTTP/1.1 503")
    assert send(client, os.urandom(LIMIT)).status_code == 404


def test_a_request_larger_than_the_memory_for_images_is_refused(client: httpx.Client) -> None:
    answer = send(client, bytes(IMAGES_IN_MEMORY * LIMIT + 1), FORM)
    assert_error(answer, 413)
    assert f"{IMAGES_IN_MEMORY * LIMIT:,} bytes" in answer.json()["error"]["message"]


@pytest.mark.parametrize("disposition", ['filename="a.png"', "filename*=utf-8''V%C3%B6gel.png", "x=y"])
def test_a_file_is_taken_however_its_name_is_written(client: httpx.Client, disposition: str) -> None:
    body = (PART % b"abc" + b"--b--\r\n").replace(b'filename="a"', disposition.encode())
    assert_error(send(client, body, "Multipart/Form-Data; boundary=b"), 404)
    assert_error(send(client, b"abc", "Image/PNG"), 404)
