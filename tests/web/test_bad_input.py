"""Bad input and what it gets: a row a case. Never a 5xx, always the one error shape."""

from __future__ import annotations

import base64
import socket
from collections.abc import Iterator
from typing import Any

import httpx
import orjson
import pytest

from tests.conftest import Server
from tests.web.errors import assert_error

RUN = {"dataset": "shapes100", "preset": "baseline-cnn"}
JSON = {"content-type": "application/json"}


def cursor(*parts: Any) -> str:
    return base64.urlsafe_b64encode(orjson.dumps(parts)).decode()


def overrides(text: str) -> bytes:
    return b'{"dataset": "shapes100", "preset": "baseline-cnn", "overrides": %s}' % text.encode()


@pytest.mark.parametrize(
    ("body", "status", "field"),
    [
        (b"{", 400, None),
        (b"\xff\xfe", 400, None),
        (b"[" * 100_000, 400, None),
        (b'{"priority": %s}' % (b"9" * 5000), 400, None),
        (b"", 422, "body"),
        (b"null", 422, "body"),
        (b"[1]", 422, "body"),
        (b'"\\ud800"', 422, "body"),
        (b'{"dataset": "shapes100"}', 422, "preset"),
        (b'{"dataset": "\\ud800", "preset": "baseline-cnn"}', 422, "dataset"),
        (b'{"dataset": "shapes100", "preset": "baseline-cnn", "\\ud800": 1}', 422, None),
        (overrides('{"optimizer.lr": NaN}'), 422, "overrides.optimizer.lr"),
        (overrides('{"optimizer.lr": Infinity}'), 422, "overrides.optimizer.lr"),
        (overrides('{"optimizer.lr": -Infinity}'), 422, "overrides.optimizer.lr"),
        (overrides('{"optimizer.lr": 1e999}'), 422, "overrides.optimizer.lr"),
        (overrides('{"model.name": "\\ud800"}'), 422, "overrides.model.name"),
        (overrides('{"\\ud800": 1}'), 422, None),
        (overrides('{"model.widths": [1e999]}'), 422, "overrides.model.widths"),
        (overrides('{"optimizer": {"lr": 1}}'), 422, "overrides.optimizer"),
        (overrides("[]"), 422, "overrides"),
    ],
)
def test_bodies_that_are_no_request(api: httpx.Client, body: bytes, status: int, field: str | None) -> None:
    assert_error(api.post("/api/runs", content=body, headers=JSON), status, field)


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", ""])
def test_bodies_of_another_kind(api: httpx.Client, kind: str) -> None:
    assert_error(api.post("/api/runs", content=orjson.dumps(RUN), headers={"content-type": kind}), 422, "body")


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"overrides": {"optimizer.lr": -1}}, "overrides.optimizer.lr"),
        ({"overrides": {"optimizer.lr": 1e9}}, "overrides.optimizer.lr"),
        ({"overrides": {"epochs": 0}}, "overrides.epochs"),
        ({"overrides": {"epochs": 10**12}}, "overrides.epochs"),
        ({"overrides": {"epochs": 10**30}}, "overrides.epochs"),
        ({"overrides": {"epochs": 1.5}}, "overrides.epochs"),
        ({"overrides": {"max_steps": 0}}, "overrides.max_steps"),
        ({"overrides": {"seed": 2**64}}, "overrides.seed"),
        ({"overrides": {"val_fraction": 0.9}}, "overrides.val_fraction"),
        ({"overrides": {"model.widths": [0]}}, "overrides.model.widths.0"),
        ({"overrides": {"x" * 150: 1}}, "overrides." + "x" * 150),
        ({"overrides": {f"x{index}": 1 for index in range(101)}}, "overrides"),
        ({"overrides": {"batch_size": -5}}, "overrides.batch_size"),
        ({"overrides": {"model.dropout": 1.5}}, "overrides.model.dropout"),
        ({"overrides": {"model.name": "transformer"}}, "overrides.model.name"),
        ({"overrides": {"augment.crop": 32}}, "overrides.augment.crop"),
        ({"overrides": {"no.such": 1}}, "overrides.no.such"),
        ({"overrides": {"optimizer": 1}}, "overrides.optimizer"),
        ({"overrides": {"": 1}}, "overrides."),
        ({"overrides": {"optimizer.": 1}}, "overrides.optimizer."),
        ({"overrides": {"__class__": 1}}, "overrides.__class__"),
        ({"overrides": {"seed": "x"}}, "overrides.seed"),
        ({"overrides": {"dataset.name": "other"}}, "overrides.dataset.name"),
        ({"preset": "no-such"}, "preset"),
        ({"dataset": "no-such"}, "dataset"),
        ({"dataset": "../../etc"}, "dataset"),
        ({"dataset": ""}, "dataset"),
        ({"dataset": "x" * 100}, "dataset"),
        ({"dataset": "shapes100\n"}, "dataset"),
        ({"unknown": 1}, "unknown"),
        ({"name": "a\x00b"}, "name"),
        ({"name": "a\nb"}, "name"),
        ({"name": "a\n"}, "name"),
        ({"name": "a\u2028b"}, "name"),
        ({"name": "a\x85b"}, "name"),
        ({"name": "x" * 10_240}, "name"),
        ({"name": 5}, "name"),
        ({"tags": ["x" * 1000]}, "tags.0"),
        ({"tags": ["  "]}, "tags.0"),
        ({"tags": ["x"] * 31}, "tags"),
        ({"tags": "x"}, "tags"),
        ({"group": "a\nb"}, "group"),
        ({"expectation": "a\x00b"}, "expectation"),
        ({"expectation": "x" * 30_000}, "expectation"),
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
        ("/api/runs?cursor=é", 422),
        *[
            (f"/api/runs?cursor={cursor(*parts)}", 422)
            for parts in (
                ("2026-01-01T00:00:00Z", 2**64 - 1),
                ("2026-01-01T00:00:00Z", True),
                ("0001-01-01T00:00:00+10:00", 1),
                ("2026-01-01", None),
                (5, 1),
                (None, 1),
            )
        ],
        (f"/api/runs?sort=name&cursor={cursor(5, 1)}", 422),
        (f"/api/runs?sort=best_acc&cursor={cursor('x', 1)}", 422),
        ("/api/runs?q=%00", 422),
        ("/api/runs?limit=0", 422),
        ("/api/runs?limit=501", 422),
        ("/api/runs?limit=ten", 422),
        ("/api/runs?status=odd", 422),
        ("/api/runs?unknown=1", 422),
        ("/api/runs/0000000000", 404),
        ("/api/runs/..%2f..%2fetc%2fpasswd", 404),
        ("/api/runs/%2e%2e", 404),
        ("/api/runs/x'%20OR%201=1", 404),
        ("/api/runs/%00", 404),
        ("/api/runs/%ff%fe", 404),
        ("/api/runs/" + "x" * 5000, 404),
        ("/api/runs/0000000000/log?after=-1", 422),
        ("/api/runs/0000000000/log?after=99999999999999999999", 422),
        ("/api/runs/0000000000/checkpoints/99999999999999999999/file", 404),
        ("/api/events?after=-1", 422),
        ("/api/events?after=99999999999999999999", 422),
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
        ("/api/datasets/%00", 404),
        ("/api/datasets/..", 404),
        ("/api/datasets/..%2f..%2fetc", 404),
        ("/api/datasets/shapes100/images/train/999999.png", 404),
        ("/api/datasets/shapes100/images/validation/1.png", 404),
        ("/api/datasets/shapes100/images/train/-1.png", 422),
        ("/api/tasks/none", 404),
        ("/api/tasks/%00", 404),
        ("/api/tasks/..%2f..", 404),
        ("/api/preview?dataset=shapes100&preset=none", 422),
        ("/api/preview?dataset=shapes100&preset=baseline-cnn&overrides={", 400),
        ("/api/preview?dataset=shapes100&preset=baseline-cnn&overrides=[]", 422),
        ('/api/preview?dataset=shapes100&preset=baseline-cnn&overrides={"epochs":{"a":[1]}}', 422),
        ("/api/preview?dataset=..&preset=baseline-cnn", 404),
        ("/static/../app/main.py", 404),
        ("/static/..%2fapp%2fmain.py", 404),
        ("/static/%2e%2e%2fapp/main.py", 404),
        ("/static//etc/passwd", 404),
        ("/static/%00", 404),
        ("/static/" + "a" * 5000, 404),
        ("/static/", 404),
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
    assert_error(api.post(f"/api/runs/{run}/clone", json={"from_step": -5}), 422, "from_step")
    assert_error(api.post(f"/api/runs/{run}/clone", json={"dataset": "other"}), 422, "dataset")
    assert_error(api.post(f"/api/runs/{run}/resume", json={"extend_epochs": 10**30}), 422, "extend_epochs")
    assert_error(api.patch(f"/api/runs/{run}", json={"status": "finished"}), 422, "status")
    for name in ("", "  ", None, "a\nb", "x" * 10_240):
        assert_error(api.patch(f"/api/runs/{run}", json={"name": name}), 422, "name")
    assert_error(api.patch(f"/api/runs/{run}", json={"starred": "perhaps"}), 422, "starred")
    assert api.delete(f"/api/runs/{run}").status_code == 204
    for method, path in (("DELETE", ""), ("PATCH", ""), ("POST", "/stop"), ("POST", "/resume"), ("POST", "/clone")):
        body: dict[str, Any] | None = {} if method == "PATCH" else None
        assert_error(api.request(method, f"/api/runs/{run}{path}", json=body), 404)


@pytest.mark.parametrize(
    "headers",
    [
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
        {"origin": "http://evil.example"},
        {"origin": "null"},
        {"origin": "http://127.0.0.1:1"},
        {"origin": "http://["},
        {"sec-fetch-site": ""},
    ],
)
@pytest.mark.parametrize("method", ["POST", "PATCH", "DELETE", "PUT"])
def test_other_sites_are_refused(api: httpx.Client, method: str, headers: dict[str, str]) -> None:
    assert_error(api.request(method, "/api/runs/0000000000", headers=headers), 403)


def test_our_own_pages_and_programs_are_not_refused(api: httpx.Client, web: Server) -> None:
    for headers in ({"sec-fetch-site": "same-origin"}, {"sec-fetch-site": "none"}, {"origin": web.url}, {}):
        assert_error(api.delete("/api/runs/0000000000", headers=headers), 404)
    for name in ("localhost", "LOCALHOST", "[::1]", "127.0.0.1"):
        assert api.get("/healthz", headers={"host": f"{name}:{web.settings.port}"}).status_code == 200


@pytest.mark.parametrize("method", ["PUT", "TRACE", "OPTIONS", "POST"])
def test_methods_that_are_not_there(api: httpx.Client, method: str) -> None:
    for path in ("/api/presets", "/static/favicon.svg", "/api/tasks/x"):
        assert_error(api.request(method, path), 405)


@pytest.mark.parametrize(
    "host",
    ["evil.example", "", "127.0.0.1.evil.example:80", "127.0.0.1:abc", "127.0.0.1:123456", "127.0.0.1:80:80",
     "user@127.0.0.1", "[::1", "[::1]evil.example", "localhost,evil.example", "localhost/x"],
)  # fmt: skip
def test_foreign_hosts_are_refused(api: httpx.Client, host: str) -> None:
    assert_error(api.get("/api/runs", headers={"host": host}), 400)


@pytest.mark.parametrize("hosts", [b"", b"Host: 127.0.0.1\r\nHost: 127.0.0.1\r\n"], ids=["none", "two"])
def test_doubled_and_missing_hosts_are_refused(web: Server, hosts: bytes) -> None:
    with socket.create_connection(("127.0.0.1", web.settings.port), timeout=30) as connection:
        connection.sendall(b"GET /healthz HTTP/1.1\r\n" + hosts + b"Connection: close\r\n\r\n")
        with connection.makefile("rb") as answer:
            assert answer.readline().split()[1] == b"400"


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


def test_hostile_names_are_shown_as_text(api: httpx.Client) -> None:
    name = "<script>alert(1)</script>\u202e"
    run = api.post("/api/runs", json={**RUN, "name": name}).json()["id"]
    for path in ("/", f"/runs/{run}"):
        page = api.get(path, headers={"accept": "text/html"}).text
        assert "<script>alert" not in page
        assert "&lt;script&gt;alert(1)" in page
