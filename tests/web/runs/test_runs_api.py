"""The API of runs that client programs rely on."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest

from tests.conftest import Server

RUN = {"dataset": "shapes100", "preset": "baseline-cnn"}
FIELDS = {
    "id", "name", "status", "dataset", "preset", "spec", "attempt", "epoch", "step", "total_steps", "progress",
    "eta_seconds", "summary", "tags", "notes", "error", "created_at", "started_at", "finished_at",
}  # fmt: skip


def create(api: httpx.Client, **change: Any) -> dict[str, Any]:
    answer = api.post("/api/runs", json={**RUN, **change})
    assert answer.status_code == 201, answer.text
    body: dict[str, Any] = answer.json()
    return body


def test_a_run_is_created_as_asked(api: httpx.Client) -> None:
    body = {**RUN, "tags": ["a"], "expectation": "40%", "overrides": {"epochs": 3, "optimizer.lr": 3e-4}}
    answer = api.post("/api/runs", json=body)
    run = answer.json()
    assert answer.status_code == 201
    assert answer.headers["location"] == f"/api/runs/{run['id']}"
    assert set(run) >= FIELDS
    assert run["status"] == "queued"
    assert run["name"] == "baseline-cnn lr3e-4 epochs3"
    assert run["spec"]["optimizer"]["lr"] == 3e-4
    assert set(run["spec"]["dataset"]["sha256"]) == {
        "train.images.npy", "train.labels.npy", "test.images.npy", "test.labels.npy",
    }  # fmt: skip
    assert run["total_steps"] == 3 * 56
    assert run["created_at"].endswith("Z")
    assert api.get(answer.headers["location"]).json() | {"seq": 0} == run | {"seq": 0}


def test_an_idempotency_key_creates_once(api: httpx.Client) -> None:
    headers = {"idempotency-key": "only-once"}
    first = api.post("/api/runs", json=RUN, headers=headers)
    again = api.post("/api/runs", json=RUN, headers=headers)
    assert first.status_code == again.status_code == 201
    assert first.json()["id"] == again.json()["id"]
    assert api.post("/api/runs", json={**RUN, "name": "other"}, headers=headers).status_code == 409


def test_one_key_sent_many_times_at_once_creates_once(web: Server) -> None:
    def post(_: int) -> str:
        with web.client() as client:
            answer = client.post("/api/runs", json=RUN, headers={"idempotency-key": "at-once"})
        assert answer.status_code == 201, answer.text
        return str(answer.json()["id"])

    before = len(list(web.settings.runs.iterdir()))
    with ThreadPoolExecutor(8) as threads:
        ids = set(threads.map(post, range(8)))
    assert len(ids) == 1
    assert len(list(web.settings.runs.iterdir())) == before + 1


def test_lists_filter_sort_and_page(api: httpx.Client) -> None:
    made = [create(api, name=f"page {index:02}", tags=["paged"], group="g") for index in range(7)]
    seen: list[str] = []
    params: dict[str, Any] = {"tag": "paged", "sort": "name", "limit": 3}
    while True:
        page = api.get("/api/runs", params=params).json()
        seen += [run["id"] for run in page["items"]]
        if page["next_cursor"] is None:
            break
        params["cursor"] = page["next_cursor"]
    assert seen == [run["id"] for run in made]
    newest = api.get("/api/runs", params={"group": "g", "limit": 2}).json()
    assert [run["id"] for run in newest["items"]] == [made[6]["id"], made[5]["id"]]
    older = api.get("/api/runs", params={"group": "g", "limit": 2, "cursor": newest["next_cursor"]}).json()
    assert [run["id"] for run in older["items"]] == [made[4]["id"], made[3]["id"]]
    assert [run["name"] for run in api.get("/api/runs", params={"q": "page 03"}).json()["items"]] == ["page 03"]
    assert api.get("/api/runs", params={"q": "100% none"}).json()["items"] == []
    equal = api.get("/api/runs", params={"tag": "paged", "sort": "-best_acc", "limit": 4}).json()
    rest = api.get("/api/runs", params={"tag": "paged", "sort": "-best_acc", "cursor": equal["next_cursor"]}).json()
    assert len({run["id"] for run in equal["items"] + rest["items"]}) == 7


def test_what_people_add_is_kept(api: httpx.Client, web: Server) -> None:
    run = create(api)["id"]
    change = {"name": "renamed", "notes": "so", "tags": ["x", "y"], "starred": True, "expectation": "less"}
    answer = api.patch(f"/api/runs/{run}", json=change)
    assert answer.status_code == 200
    assert answer.json() | change == answer.json()
    assert "renamed" in (web.settings.runs / run / "meta.jsonl").read_text()


def test_a_queued_run_stops_resumes_clones_and_goes(api: httpx.Client, web: Server) -> None:
    run = create(api)["id"]
    assert api.post(f"/api/runs/{run}/stop").json()["status"] == "stopped"
    assert api.post(f"/api/runs/{run}/resume").json()["status"] == "queued"
    clone = api.post(f"/api/runs/{run}/clone", json={"overrides": {"optimizer.lr": 1e-4}})
    assert clone.status_code == 201
    assert clone.json()["parent"] == run
    assert clone.json()["changed"] == [{"field": "optimizer.lr", "from": 1e-3, "to": 1e-4}]
    assert api.delete(f"/api/runs/{run}").status_code == 204
    assert api.get(f"/api/runs/{run}").status_code == 404
    assert not (web.settings.runs / run).exists()


def test_the_feed_resumes_without_gap_or_repeat(api: httpx.Client, web: Server) -> None:
    start = create(api)
    seq = api.get(f"/api/runs/{start['id']}").json()["seq"]
    for index in range(5):
        api.patch(f"/api/runs/{start['id']}", json={"notes": str(index)})

    def read(count: int, **params: Any) -> list[int]:
        headers = params.pop("headers", {})
        with (
            web.client() as client,
            client.stream("GET", "/api/events", params={"runs": start["id"], **params}, headers=headers) as stream,
        ):
            ids = []
            for line in stream.iter_lines():
                if line.startswith("id: "):
                    ids.append(int(line[4:]))
                if len(ids) == count:
                    break
            return ids

    ids = read(5, after=seq)
    assert len(set(ids)) == 5
    assert min(ids) > seq
    assert read(3, headers={"last-event-id": str(ids[1])}) == ids[2:]
    assert read(5, after=seq, kinds="status") == ids


@pytest.mark.parametrize(
    "path", ["/api/presets", "/api/datasets", "/api/datasets/shapes100", "/api/workers", "/api/tasks", "/healthz",
             "/readyz", "/openapi.json"],
)  # fmt: skip
def test_other_questions_are_answered(api: httpx.Client, path: str) -> None:
    assert api.get(path).status_code == 200


def test_answers_carry_the_security_headers(api: httpx.Client) -> None:
    headers = api.get("/", headers={"accept": "text/html"}).headers
    assert "unsafe" not in headers["content-security-policy"]
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "same-origin"
