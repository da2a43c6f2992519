"""Bad input and what it gets: a row a case. Never a 5xx, always the one error shape."""

from __future__ import annotations

import io
import stat
import zipfile
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest
from PIL import Image

from tests.conftest import Server

RUN = {"dataset": "shapes100", "preset": "baseline-cnn"}
JSON = {"content-type": "application/json"}


def assert_error(answer: httpx.Response, status: int, field: str | None = None) -> None:
    assert answer.status_code == status, answer.text[:500]
    body = answer.json()
    assert set(body) == {"error"}
    assert set(body["error"]) == {"code", "message", "detail"}
    if field is not None:
        assert field in [item["field"] for item in body["error"]["detail"]]


@pytest.mark.parametrize(
    ("body", "status", "field"),
    [
        (b"{", 400, None),
        (b"", 422, None),
        (b"[1]", 422, None),
        (b'{"dataset": "shapes100", "preset": "baseline-cnn", "overrides": {"optimizer.lr": NaN}}', 400, None),
        (b'{"dataset": "shapes100", "preset": "baseline-cnn", "overrides": {"optimizer.lr": 1e999}}', 422, None),
        (b'{"dataset": "\\ud800", "preset": "baseline-cnn"}', 422, None),
        (b"\xff\xfe", 400, None),
    ],
)
def test_bodies_that_are_no_request(api: httpx.Client, body: bytes, status: int, field: str | None) -> None:
    answer = api.post("/api/runs", content=body, headers=JSON)
    assert answer.status_code in (400, 422), answer.text
    assert_error(answer, answer.status_code, field)


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"overrides": {"optimizer.lr": -1}}, "overrides.optimizer.lr"),
        ({"overrides": {"optimizer.lr": 1e9}}, "overrides.optimizer.lr"),
        ({"overrides": {"epochs": 0}}, "overrides.epochs"),
        ({"overrides": {"epochs": 10**12}}, "overrides.epochs"),
        ({"overrides": {"batch_size": -5}}, "overrides.batch_size"),
        ({"overrides": {"model.dropout": 1.5}}, "overrides.model.dropout"),
        ({"overrides": {"model.name": "transformer"}}, "overrides.model.name"),
        ({"overrides": {"augment.crop": 32}}, "overrides.augment.crop"),
        ({"overrides": {"no.such": 1}}, "overrides.no.such"),
        ({"overrides": {"optimizer": 1}}, "overrides.optimizer"),
        ({"overrides": {"seed": "x"}}, "overrides.seed"),
        ({"overrides": {"dataset.name": "other"}}, "overrides.dataset.name"),
        ({"preset": "no-such"}, "preset"),
        ({"dataset": "no-such"}, "dataset"),
        ({"dataset": "../../etc"}, "dataset"),
        ({"unknown": 1}, "unknown"),
        ({"name": "a\x00b"}, "name"),
        ({"name": "a\nb"}, "name"),
        ({"name": "x" * 10_240}, "name"),
        ({"tags": ["x" * 1000]}, "tags.0"),
        ({"priority": 10**9}, "priority"),
    ],
)
def test_runs_that_cannot_be(api: httpx.Client, web: Server, change: dict[str, Any], field: str) -> None:
    before = set(web.settings.runs.glob("*"))
    assert_error(api.post("/api/runs", json={**RUN, **change}), 422, field)
    assert set(web.settings.runs.glob("*")) == before


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/api/runs?sort=password", 422),
        ("/api/runs?sort=created_at;DROP TABLE run", 422),
        ("/api/runs?limit=-1", 422),
        ("/api/runs?limit=1000000000", 422),
        ("/api/runs?cursor=nonsense", 422),
        ("/api/runs?cursor=WzEsMl0=", 422),
        ("/api/runs?status=odd", 422),
        ("/api/runs?unknown=1", 422),
        ("/api/runs/0000000000", 404),
        ("/api/runs/..%2f..%2fetc%2fpasswd", 404),
        ("/api/runs/%2e%2e", 404),
        ("/api/runs/x'%20OR%201=1", 404),
        ("/api/runs/0000000000/metrics", 404),
        ("/api/runs/0000000000/metrics.csv", 404),
        ("/api/runs/0000000000/log", 404),
        ("/api/runs/0000000000/checkpoints", 404),
        ("/api/runs/0000000000/checkpoints/1/file", 404),
        ("/api/runs/0000000000/checkpoints/x/file", 422),
        ("/api/runs/0000000000/events", 404),
        ("/api/runs/0000000000/metrics?points=0", 422),
        ("/api/runs/0000000000/metrics?points=100001", 422),
        ("/api/datasets/none", 404),
        ("/api/datasets/..%2f..%2fetc", 404),
        ("/api/datasets/shapes100/images/train/999999.png", 404),
        ("/api/datasets/shapes100/images/validation/1.png", 404),
        ("/api/datasets/shapes100/images/train/-1.png", 422),
        ("/api/tasks/none", 404),
        ("/api/preview?dataset=shapes100&preset=none", 422),
        ("/api/preview?dataset=shapes100&preset=baseline-cnn&overrides={", 400),
        ("/api/preview?dataset=shapes100&preset=baseline-cnn&overrides=[]", 422),
        ("/static/../app/main.py", 404),
        ("/static/..%2fapp%2fmain.py", 404),
        ("/no/such/page", 404),
    ],
)
def test_questions_without_an_answer(api: httpx.Client, path: str, status: int) -> None:
    assert_error(api.get(path), status)


def test_moves_that_make_no_sense(api: httpx.Client) -> None:
    run = api.post("/api/runs", json=RUN).json()["id"]
    assert_error(api.post(f"/api/runs/{run}/resume"), 409)
    assert api.post(f"/api/runs/{run}/stop").status_code == 202
    assert_error(api.post(f"/api/runs/{run}/stop"), 409)
    assert_error(api.post(f"/api/runs/{run}/stop", json={"mode": "sideways"}), 422, "mode")
    assert_error(api.post(f"/api/runs/{run}/resume", json={"extend_epochs": -1}), 422, "extend_epochs")
    assert_error(api.post(f"/api/runs/{run}/clone", json={"overrides": {"nope": 1}}), 422, "overrides.nope")
    assert_error(api.post(f"/api/runs/{run}/clone", json={"from_step": 5}), 404)
    assert_error(api.patch(f"/api/runs/{run}", json={"status": "finished"}), 422, "status")
    assert_error(api.patch(f"/api/runs/{run}", json={"name": ""}), 422, "name")
    assert api.delete(f"/api/runs/{run}").status_code == 204
    assert_error(api.delete(f"/api/runs/{run}"), 404)


@pytest.mark.parametrize(
    "headers",
    [
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
        {"origin": "http://evil.example"},
        {"origin": "null"},
        {"origin": "http://127.0.0.1:1"},
    ],
)
@pytest.mark.parametrize("method", ["POST", "PATCH", "DELETE", "PUT"])
def test_other_sites_are_refused(api: httpx.Client, method: str, headers: dict[str, str]) -> None:
    assert_error(api.request(method, "/api/runs/0000000000", headers=headers), 403)


@pytest.mark.parametrize("host", ["evil.example", "", "127.0.0.1.evil.example:80"])
def test_foreign_hosts_are_refused(api: httpx.Client, host: str) -> None:
    assert_error(api.get("/api/runs", headers={"host": host}), 400)


def test_bodies_over_the_limit_are_cut_off(api: httpx.Client) -> None:
    large = b'{"dataset": "' + b"x" * (2 << 20)
    assert_error(api.post("/api/runs", content=large, headers=JSON), 413)

    def chunks() -> Iterator[bytes]:
        for _ in range(64):
            yield b"x" * 65_536

    try:
        answer = api.post("/api/runs", content=chunks(), headers=JSON)
    except httpx.WriteError:
        return  # cut off before it was all sent
    assert_error(answer, 413)


def test_too_many_streams(api: httpx.Client, web: Server) -> None:
    with web.client() as one, web.client() as two, web.client() as three:
        streams = [client.stream("GET", "/api/events") for client in (one, two, three)]
        for stream in streams:
            assert stream.__enter__().status_code == 200
        answer = api.get("/api/events")
        assert_error(answer, 503)
        assert "retry-after" in answer.headers
        for stream in streams:
            stream.__exit__(None, None, None)


def picture(shade: int = 0) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (32, 32), (shade, 0, 0)).save(buffer, "PNG")
    return buffer.getvalue()


def archive(entries: dict[str, bytes], edit: Callable[[zipfile.ZipFile], None] | None = None) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        for name, data in entries.items():
            file.writestr(name, data)
        if edit is not None:
            edit(file)
    return buffer.getvalue()


GOOD = {f"{kind}/{index}.png": picture(index) for kind in ("ant", "bee") for index in range(4)}


def add_link(file: zipfile.ZipFile) -> None:
    entry = zipfile.ZipInfo("ant/link.png")
    entry.external_attr = (stat.S_IFLNK | 0o777) << 16
    file.writestr(entry, "/etc/passwd")


def add_bomb(file: zipfile.ZipFile) -> None:
    file.writestr("ant/bomb.png", b"\0" * (8 << 20), zipfile.ZIP_DEFLATED)


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"no zip at all", id="text"),
        pytest.param(b"", id="empty"),
        pytest.param(archive({}), id="no entries"),
        pytest.param(archive({**GOOD, "../evil.png": picture()}), id="dotdot"),
        pytest.param(archive({**GOOD, "/etc/evil.png": picture()}), id="absolute"),
        pytest.param(archive(GOOD, add_link), id="link"),
        pytest.param(archive({**GOOD, "ANT/0.png": picture()}), id="clashing"),
        pytest.param(archive({**GOOD, "ant/more.zip": archive(GOOD)}), id="nested"),
        pytest.param(archive(GOOD, add_bomb), id="ratio"),
        pytest.param(archive({"ant/0.png": picture(), "ant/1.png": picture()}), id="one class"),
        pytest.param(archive({**GOOD, "cat/": b""}), id="empty class"),
    ],
)
def test_archives_that_are_refused_leave_nothing(api: httpx.Client, web: Server, data: bytes) -> None:
    answer = api.post("/api/datasets", files={"file": ("x.zip", data)}, data={"name": "mine"})
    assert_error(answer, 422)
    assert list(web.settings.tasks.glob("*")) == []
    assert [path.name for path in web.settings.datasets.iterdir()] == ["shapes100"]


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"name": "x"}, "source"),
        ({"name": "x", "source": "torchvision:CIFAR100", "size": 33}, "size"),
        ({"name": "x", "source": "torchvision:CIFAR100", "extra": 1}, "extra"),
        ({"name": "x", "source": "/no/such/folder"}, None),
        ({"name": "x", "source": "app"}, None),
        ({"name": "x", "source": "/etc/hostname"}, None),
        ({"name": "x", "source": "a\x00b"}, None),
        ({"name": "x", "source": "torchvision:None"}, None),
        ({"name": "../x", "source": "shapes100"}, None),
        ({"name": "x" * 200, "source": "shapes100"}, "name"),
    ],
)
def test_data_sets_that_cannot_be(api: httpx.Client, web: Server, body: dict[str, Any], field: str | None) -> None:
    assert_error(api.post("/api/datasets", json=body), 422, field)
    assert list(web.settings.tasks.glob("*")) == []


def test_hostile_names_are_shown_as_text(api: httpx.Client) -> None:
    name = "<script>alert(1)</script>\u202e"
    run = api.post("/api/runs", json={**RUN, "name": name}).json()["id"]
    for path in ("/", f"/runs/{run}"):
        page = api.get(path, headers={"accept": "text/html"}).text
        assert "<script>alert" not in page
        assert "&lt;script&gt;alert(1)" in page
