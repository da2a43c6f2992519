"""The calls of a script's client, against a web process without a worker: what is received, and what is refused."""

from __future__ import annotations

import hashlib
import json
import threading
from itertools import count
from typing import Any

import httpx
import pytest

from tests.conftest import Server
from tests.web.scripts.sender import Sender

numbers = count()


@pytest.fixture
def sender(api: httpx.Client) -> Sender:
    """A session of a new run, with two events that were not sent."""
    made = Sender(api, f"run-{next(numbers)}")
    assert made.register().status_code == 201
    made.start()
    made.metrics(0, loss=1.0)
    return made


def code(answer: httpx.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["error"]["code"]


def received(web: Server, sender: Sender, attempt: int = 1) -> bytes:
    return (web.settings.runs / sender.run_id / "events" / f"{attempt}.jsonl").read_bytes()


def test_events_are_kept_as_they_were_sent(web: Server, sender: Sender) -> None:
    first = len(sender.spool)
    assert sender.post().json() == {"offset": first, "stop": False}
    assert sender.post().json() == {"offset": first, "stop": False}  # a heartbeat
    sender.metrics(1, loss=0.5)
    assert sender.post(compressed=True).json()["offset"] == len(sender.spool)
    assert received(web, sender) == sender.spool


def test_what_was_sent_already_is_compared(web: Server, sender: Sender) -> None:
    sender.post()
    sender.metrics(1, loss=0.5)
    for offset in (0, 5, len(sender.spool)):
        assert sender.post(offset=offset).json()["offset"] == len(sender.spool)
    assert received(web, sender) == sender.spool
    other = sender.spool.replace(b"0.5", b"0.7")
    answer = sender.post(offset=0, body=other)
    assert code(answer) == (409, "different_events")
    assert received(web, sender) == sender.spool


def test_missing_bytes_are_asked_for(sender: Sender) -> None:
    sender.post()
    answer = sender.post(offset=len(sender.spool) + 7, body=b"{}\n")
    assert code(answer) == (409, "gap")
    assert answer.json()["error"]["detail"] == {"offset": len(sender.spool)}


def test_a_body_ends_with_a_line(web: Server, sender: Sender) -> None:
    assert code(sender.post(body=sender.spool[:-1])) == (422, "incomplete_line")
    assert received(web, sender) == b""


def test_a_known_session_keeps_its_attempt(sender: Sender) -> None:
    sender.post()
    again = sender.register(name="another name")
    assert again.status_code == 200
    assert again.json() == {
        "id": sender.run_id, "name": sender.run_id, "url": f"/runs/{sender.run_id}", "attempt": 1,
        "offset": len(sender.spool), "last_step": -1, "stop": False,
    }  # fmt: skip


def test_a_new_session_takes_the_run_over(web: Server, api: httpx.Client, sender: Sender) -> None:
    sender.post()
    second = Sender(api, sender.run_id, "b" * 8)
    assert second.register().json()["attempt"] == 2
    sender.metrics(1, loss=1.0)
    assert code(sender.post()) == (409, "superseded")
    second.start()
    assert second.post().status_code == 200
    assert received(web, second, 2) == second.spool
    assert sender.register().json()["attempt"] == 1  # what of it was received is still told


def test_whether_the_run_may_exist(api: httpx.Client, sender: Sender) -> None:
    other = Sender(api, sender.run_id, "c" * 8)
    assert code(other.register(resume="never")) == (409, "run_exists")
    assert other.register(resume="must").json()["attempt"] == 2
    assert other.register(resume="never").status_code == 200  # it is this session's own
    unknown = Sender(api, f"run-{next(numbers)}")
    assert code(unknown.register(resume="must")) == (404, "not_found")
    assert unknown.register(resume="never").status_code == 201


def test_a_run_of_the_own_trainer_is_no_script(api: httpx.Client, web: Server) -> None:
    run_id = web.launch()
    for answer in (
        Sender(api, run_id).register(),
        Sender(api, run_id).post(body=b"{}\n"),
        api.put(f"/api/scripts/{run_id}/files/{'0' * 64}", content=b""),
        api.get(f"/api/scripts/{run_id}"),
        api.get(f"/api/scripts/{run_id}/media", params={"name": "x"}),
    ):
        assert code(answer) == (409, "not_a_script")


def test_an_unknown_run_or_session(api: httpx.Client, sender: Sender) -> None:
    assert code(Sender(api, "nobody").post(body=b"{}\n")) == (404, "not_found")
    assert code(Sender(api, sender.run_id, "d" * 8).post(body=b"{}\n")) == (404, "not_found")
    assert code(api.get("/api/scripts/nobody")) == (404, "not_found")


def test_a_stop_reaches_the_script(api: httpx.Client, sender: Sender) -> None:
    sender.post()
    assert code(api.delete(f"/api/runs/{sender.run_id}")) == (409, "run_active")
    assert api.post(f"/api/runs/{sender.run_id}/stop").json()["status"] == "stopping"
    assert sender.post().json()["stop"] is True
    assert sender.register().json()["stop"] is True
    second = Sender(api, sender.run_id, "b" * 8)
    assert second.register().json()["stop"] is False  # somebody has started the script again
    assert second.post().json()["stop"] is False


def test_the_same_events_from_many_at_once(web: Server, sender: Sender) -> None:
    """Retries that overlap: the file has every byte once."""
    for step in range(1, 200):
        sender.metrics(step, loss=1 / step)
    cuts = [0, *(at + 1 for at, byte in enumerate(sender.spool) if byte == 10)]
    failures: list[str] = []

    def send() -> None:
        with web.client() as client:
            mine = Sender(client, sender.run_id)
            for start, end in zip(cuts[::20], [*cuts[20::20], len(sender.spool)], strict=False):
                while True:
                    answer = mine.post(offset=start, body=sender.spool[start:end])
                    if answer.status_code == 200:
                        break
                    if answer.status_code != 429:
                        failures.append(answer.text)
                        return

    threads = [threading.Thread(target=send) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert received(web, sender) == sender.spool


@pytest.mark.parametrize("run_id", ["new", "Latest", "-x", "a" * 33, "a.b", "é"])
def test_ids_that_are_refused(api: httpx.Client, run_id: str) -> None:
    assert code(Sender(api, run_id).register()) == (422, "invalid_request")


@pytest.mark.parametrize(
    "body",
    [
        {"session": "xyz"},
        {},
        {"session": "a" * 8, "name": "two\nlines"},
        {"session": "a" * 8, "tags": ["x"] * 31},
        {"session": "a" * 8, "resume": "perhaps"},
        {"session": "a" * 8, "config": [1]},
        {"session": "a" * 8, "project": "p" * 201},
    ],
)
def test_sessions_that_are_refused(api: httpx.Client, body: dict[str, Any]) -> None:
    assert code(api.put("/api/scripts/refused", json=body)) == (422, "invalid_request")


def test_fields_of_a_newer_client_are_ignored(api: httpx.Client) -> None:
    assert Sender(api, "newer").register(colour="blue").status_code == 201


def test_a_large_configuration(api: httpx.Client) -> None:
    config = {f"key{number}": "x" * 1000 for number in range(1000)}
    assert len(json.dumps(config)) > 1_000_000
    assert Sender(api, "large-config").register(config=config).status_code == 201
    too_large = Sender(api, "too-large").register(config={"x": "y" * (5 << 20)})
    assert code(too_large) == (413, "too_large")


def test_bodies_that_are_no_gzip_or_too_large(sender: Sender) -> None:
    headers = {"Content-Encoding": "gzip"}
    path = f"/api/scripts/{sender.run_id}/events"
    query: dict[str, Any] = {"session": sender.session, "offset": 0}
    assert code(sender.client.post(path, params=query, content=b"plain\n", headers=headers)) == (400, "bad_request")
    answer = sender.client.post(path, params=query, content=b"plain\n", headers={"Content-Encoding": "br"})
    assert code(answer) == (415, "unsupported_encoding")
    many = b"x" * (4 << 20) + b"\n"
    assert code(sender.post(body=many)) == (413, "too_large")
    assert code(sender.post(body=many, compressed=True)) == (413, "too_large")
    assert sender.post().status_code == 200


def test_files_are_received_once_and_whole(api: httpx.Client, sender: Sender) -> None:
    content = b"weights" * 1000
    digest = hashlib.sha256(content).hexdigest()
    path = f"/api/scripts/{sender.run_id}/files/{digest}"
    assert api.head(path).status_code == 404
    assert code(api.put(path, content=b"others")) == (422, "other_hash")
    assert api.put(path, content=content).status_code == 201
    assert api.put(path, content=content).status_code == 200
    assert api.head(path).status_code == 200
    answer = api.get(path)
    assert answer.content == content
    assert answer.headers["content-type"] == "application/octet-stream"
    assert "attachment" in answer.headers["content-disposition"]
    assert code(api.put(f"/api/scripts/nobody/files/{digest}", content=content)) == (404, "not_found")
    assert code(api.put(f"/api/scripts/{sender.run_id}/files/xyz", content=content)) == (422, "invalid_request")


def test_people_can_change_what_is_said_of_a_run(api: httpx.Client, sender: Sender) -> None:
    changes = {"name": "n", "project": "p", "notes": "x", "tags": ["t"], "starred": True}
    answer = api.patch(f"/api/runs/{sender.run_id}", json=changes)
    assert {name: answer.json()[name] for name in changes} == changes
    assert sender.register().json()["name"] == "n"


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("POST", "resume", None),
        ("POST", "clone", None),
        ("POST", "stop", {"mode": "wind-down"}),
    ],
)
def test_what_only_the_own_trainer_can_do(
    api: httpx.Client, sender: Sender, method: str, path: str, body: dict[str, Any] | None
) -> None:
    answer = api.request(method, f"/api/runs/{sender.run_id}/{path}", json=body)
    assert code(answer) == (409, "script_run")
    assert answer.json()["error"]["message"].endswith(".")


def test_the_launch_form_does_not_copy_a_script(api: httpx.Client, sender: Sender) -> None:
    answer = api.get("/runs/new", params={"from": sender.run_id}, headers={"Accept": "text/html"})
    assert answer.status_code == 409
    assert "is a script" in answer.text
