"""A zip that is sent in chunks: it continues after a broken connection or a killed server, and is imported once."""

from __future__ import annotations

import base64
import hashlib
import os
import random
import signal
import socket
import time
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.conftest import Server, wait_for
from tests.web.errors import assert_error
from tests.web.zips import GOOD, archive

ZIP = archive({**GOOD, "notes.bin": random.Random(0).randbytes(1 << 20)})
CHUNK = 200_000


def begin(client: httpx.Client, size: int = len(ZIP)) -> str:
    answer = client.post("/api/uploads", json={"name": "birds.zip", "size": size})
    assert answer.status_code == 201, answer.text
    assert answer.headers["location"] == f"/api/uploads/{answer.json()['id']}"
    return str(answer.json()["id"])


def put(client: httpx.Client, upload: str, offset: int, data: bytes, digest: bytes | None = None) -> httpx.Response:
    hashed = base64.b64encode(hashlib.sha256(data).digest() if digest is None else digest).decode()
    headers = {"content-digest": f"sha-256=:{hashed}:", "content-type": "application/octet-stream"}
    return client.put(f"/api/uploads/{upload}", params={"offset": offset}, content=data, headers=headers)


def send_all(client: httpx.Client, upload: str) -> None:
    offset = client.get(f"/api/uploads/{upload}").json()["offset"]
    while offset < len(ZIP):
        offset = put(client, upload, offset, ZIP[offset : offset + CHUNK]).raise_for_status().json()["offset"]


def ended(api: httpx.Client, task: str) -> dict[str, Any]:
    def there() -> dict[str, Any] | None:
        found: dict[str, Any] = api.get(f"/api/tasks/{task}").json()
        return found if found["status"] in ("finished", "failed") else None

    return wait_for(there, 150)


def test_chunks_are_checked_and_counted_once(api: httpx.Client, web: Server) -> None:
    upload = begin(api)
    first = ZIP[:CHUNK]
    assert_error(put(api, upload, 0, first, hashlib.sha256(b"other").digest()), 422)
    assert api.get(f"/api/uploads/{upload}").json()["offset"] == 0
    assert put(api, upload, 0, first).json()["offset"] == CHUNK
    assert put(api, upload, 0, first).json()["offset"] == CHUNK  # its answer was lost, and it is sent again
    assert put(api, upload, CHUNK - 10, ZIP[CHUNK - 10 : CHUNK + 5]).json()["offset"] == CHUNK + 5
    gap = put(api, upload, CHUNK + 6, b"x")
    assert_error(gap, 409)
    assert gap.json()["error"]["detail"] == {"offset": CHUNK + 5}
    assert_error(put(api, upload, CHUNK, ZIP), 413)
    for wrong in ("0" * 24, "..", "x/../y"):
        assert put(api, wrong, 0, first).status_code in (404, 405)
    incomplete = api.post("/api/datasets", json={"name": "birds", "upload": upload})
    assert_error(incomplete, 409)
    assert_error(
        api.post("/api/datasets", json={"name": "birds", "upload": upload, "source": "shapes100"}), 422, "source"
    )
    assert api.delete(f"/api/uploads/{upload}").status_code == 204
    assert_error(api.get(f"/api/uploads/{upload}"), 404)
    assert not [path for path in web.settings.uploads.rglob("*") if path.is_file()]


def test_what_cannot_fit_is_refused_before_it_is_sent(api: httpx.Client) -> None:
    assert_error(api.post("/api/uploads", json={"name": "a.zip", "size": 1 << 40}), 413)
    assert_error(api.post("/api/uploads", json={"name": "a.zip", "size": 0}), 422)


@pytest.mark.parametrize("as_form", [False, True])
def test_an_upload_that_arrived_is_imported_once(server: Server, *, as_form: bool) -> None:
    own = server.settings.datasets  # a link to the datasets of other tests
    own.unlink()
    own.mkdir()
    server.start("web", "worker")
    with server.client() as client:
        upload = begin(client)
        send_all(client, upload)
        body = {"name": "birds", "upload": upload, "size": 32}
        assert_error(client.post("/api/datasets", json={**body, "name": "..", "upload": upload}), 422)
        refused = client.post("/api/datasets", json={**body, "manifest": "file_name,label\nnone.png,a\n"})
        assert refused.status_code == 422  # the upload is still there
        fields = {**body, "size": "32"}
        manifest = {"manifest": ("", b"")}
        answer = client.post("/api/datasets", data=fields, files=manifest) if as_form else None
        answer = answer or client.post("/api/datasets", json=body)
        assert answer.status_code == 202, answer.text
        assert answer.json()["request"]["label"] == "birds.zip"
        assert ended(client, answer.json()["id"])["status"] == "finished"
        assert client.get("/api/datasets/birds").json()["train_count"] > 0
        assert_error(client.post("/api/datasets", json=body), 404)
        assert not [path for path in server.settings.uploads.rglob("*") if path.is_file()]


def test_an_upload_goes_on_after_the_server_was_killed(server: Server) -> None:
    server.start("web")
    with server.client() as client:
        upload = begin(client)
        put(client, upload, 0, ZIP[:CHUNK]).raise_for_status()
    for _ in range(3):
        cut_off(server, upload)
        server.stop("web", signal.SIGKILL)
        server.start("web")
    with server.client() as client:
        assert client.get(f"/api/uploads/{upload}").json()["offset"] >= CHUNK
        send_all(client, upload)
        kept = server.settings.uploads / "kept" / f"{upload}.part"
        assert kept.read_bytes() == ZIP
        assert [path for path in server.settings.uploads.iterdir() if path.is_file()] == []  # the cut-off chunks


def cut_off(server: Server, upload: str) -> None:
    """Begin to send a chunk, and leave it at that."""
    head = f"PUT /api/uploads/{upload}?offset={CHUNK} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: {CHUNK}\r\n\r\n"
    with socket.create_connection(("127.0.0.1", server.settings.port)) as connection:
        connection.sendall(head.encode() + ZIP[CHUNK : CHUNK + 1000])
        wait_for(lambda: any(path.is_file() for path in server.settings.uploads.iterdir()), 10, "the chunk's file")


def test_an_upload_that_nobody_continues_is_deleted(api: httpx.Client, web: Server) -> None:
    old, long_ago = begin(api), time.time() - 8 * 86_400
    for path in files_of(web.settings.uploads, old):
        os.utime(path, (long_ago, long_ago))
    begin(api)
    assert_error(api.get(f"/api/uploads/{old}"), 404)
    assert files_of(web.settings.uploads, old) == []


def files_of(folder: Path, upload: str) -> list[Path]:
    return [*(folder / "kept").glob(f"{upload}.*")]
