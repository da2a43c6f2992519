"""Bad input that is not in the table of test_bad_input_table.py. Every response has the common error shape."""

from __future__ import annotations

import base64
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
    ("body", "field"),
    [
        (b"", "body"),
        (b"null", "body"),
        (b"[1]", "body"),
        (b'"\\ud800"', "body"),
        (b'{"dataset": "shapes100"}', "preset"),
        (b'{"dataset": "\\ud800", "preset": "baseline-cnn"}', "dataset"),
        (b'{"dataset": "shapes100", "preset": "baseline-cnn", "\\ud800": 1}', None),
        (overrides('{"model.name": "\\ud800"}'), "overrides.model.name"),
        (overrides('{"\\ud800": 1}'), None),
        (overrides('{"model.widths": [1e999]}'), "overrides.model.widths"),
        (overrides('{"optimizer": {"lr": 1}}'), "overrides.optimizer"),
        (overrides("[]"), "overrides"),
    ],
)
def test_bodies_that_are_no_request(api: httpx.Client, body: bytes, field: str | None) -> None:
    assert_error(api.post("/api/runs", content=body, headers=JSON), 422, field)


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", ""])
def test_bodies_of_another_kind(api: httpx.Client, kind: str) -> None:
    assert_error(api.post("/api/runs", content=orjson.dumps(RUN), headers={"content-type": kind}), 422, "body")


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"overrides": {"epochs": 1.5}}, "overrides.epochs"),
        ({"overrides": {"max_steps": 0}}, "overrides.max_steps"),
        ({"overrides": {"seed": 2**64}}, "overrides.seed"),
        ({"overrides": {"val_fraction": 0.9}}, "overrides.val_fraction"),
        ({"overrides": {"model.widths": [0]}}, "overrides.model.widths.0"),
        ({"overrides": {"x" * 150: 1}}, "overrides." + "x" * 150),
        ({"overrides": {f"x{index}": 1 for index in range(101)}}, "overrides"),
        ({"overrides": {"model.dropout": 1.5}}, "overrides.model.dropout"),
        ({"overrides": {"model.name": "transformer"}}, "overrides.model.name"),
        ({"overrides": {"augment.crop": 32}}, "overrides.augment.crop"),
        ({"overrides": {"optimizer": 1}}, "overrides.optimizer"),
        ({"overrides": {"": 1}}, "overrides."),
        ({"overrides": {"optimizer.": 1}}, "overrides.optimizer."),
        ({"overrides": {"__class__": 1}}, "overrides.__class__"),
        ({"overrides": {"seed": "x"}}, "overrides.seed"),
        ({"overrides": {"dataset.name": "other"}}, "overrides.dataset.name"),
        ({"dataset": "../../etc"}, "dataset"),
        ({"dataset": ""}, "dataset"),
        ({"dataset": "x" * 100}, "dataset"),
        ({"dataset": "shapes100\n"}, "dataset"),
        ({"name": "a\n"}, "name"),
        ({"name": "a\u2028b"}, "name"),
        ({"name": "a\x85b"}, "name"),
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
        ("/api/runs/x'%20OR%201=1", 404),
        ("/api/runs/%00", 404),
        ("/api/runs/%ff%fe", 404),
        ("/api/runs/" + "x" * 5000, 404),
        ("/api/runs/0000000000/log?after=-2", 422),
        ("/api/runs/0000000000/log?after=99999999999999999999", 422),
        ("/api/runs/0000000000/checkpoints/99999999999999999999/file", 404),
        ("/api/events?after=-1", 422),
        ("/api/events?after=99999999999999999999", 422),
        ("/api/runs/0000000000/checkpoints/x/file", 422),
        ("/api/runs/0000000000/metrics?points=0", 422),
        ("/api/runs/0000000000/metrics?points=100001", 422),
        ("/api/datasets/%00", 404),
        ("/api/datasets/shapes100/images/train/999999.png", 404),
        ("/api/datasets/shapes100/images/validation/1.png", 404),
        ("/api/datasets/shapes100/images/train/-1.png", 422),
        ("/api/tasks/%00", 404),
        ("/api/preview?dataset=shapes100&preset=none", 422),
        ("/api/preview?dataset=shapes100&preset=baseline-cnn&overrides={", 400),
        ("/api/preview?dataset=shapes100&preset=baseline-cnn&overrides=[]", 422),
        ('/api/preview?dataset=shapes100&preset=baseline-cnn&overrides={"epochs":{"a":[1]}}', 422),
        ("/api/preview?dataset=..&preset=baseline-cnn", 404),
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


def test_our_own_pages_and_programs_are_not_refused(api: httpx.Client, web: Server) -> None:
    for headers in ({"sec-fetch-site": "same-origin"}, {"sec-fetch-site": "none"}, {"origin": web.url}, {}):
        assert_error(api.delete("/api/runs/0000000000", headers=headers), 404)
    for name in ("localhost", "LOCALHOST", "[::1]", "127.0.0.1"):
        assert api.get("/healthz", headers={"host": f"{name}:{web.settings.port}"}).status_code == 200


@pytest.mark.parametrize("method", ["PUT", "TRACE", "OPTIONS", "POST"])
def test_methods_that_are_not_there(api: httpx.Client, method: str) -> None:
    for path in ("/api/presets", "/static/favicon.svg", "/api/tasks/x"):
        assert_error(api.request(method, path), 405)
