"""Server-sent event streams over HTTP."""

from __future__ import annotations

import re
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import httpx
import orjson
import pytest

from tests.conftest import Server, wait_for

RUN = {"dataset": "shapes100", "preset": "baseline-cnn"}
LIMIT = 3  # TRACKSIDE_MAX_STREAMS of the shared server


@contextmanager
def stream(
    web: Server, path: str = "/api/events", headers: httpx.Headers | dict[str, str] | None = None, **params: Any
) -> Iterator[Iterator[tuple[int, str, Any]]]:
    """Open a stream and yield an iterator of its events as (id, kind, data)."""

    def events(answer: httpx.Response) -> Iterator[tuple[int, str, Any]]:
        fields: dict[str, str] = {}
        for line in answer.iter_lines():
            if ": " in line:
                name, value = line.split(": ", 1)
                fields[name] = value
            elif "id" in fields:
                yield int(fields["id"]), fields["event"], orjson.loads(fields["data"])
                fields = {}

    with web.client() as client, client.stream("GET", path, params=params, headers=headers or {}) as answer:
        assert answer.status_code == 200
        assert answer.headers["content-type"].startswith("text/event-stream")
        assert answer.headers["cache-control"] == "no-store"
        yield events(answer)


def open_streams(api: httpx.Client) -> int:
    found = re.search(r"^trackside_live_streams (\d+)", api.get("/metrics").text, re.MULTILINE)
    assert found is not None
    return int(found[1])


@pytest.fixture(autouse=True)
def _no_stream_is_open(api: httpx.Client) -> None:
    wait_for(lambda: open_streams(api) == 0, 30, "the streams of the test before to be let go")


def create(api: httpx.Client) -> str:
    return str(api.post("/api/runs", json=RUN).json()["id"])


def test_a_stream_tells_of_the_runs_and_kinds_that_were_asked_for(api: httpx.Client, web: Server) -> None:
    mine, other = create(api), create(api)
    seq = api.get(f"/api/runs/{other}").json()["seq"]
    with stream(web, runs=f"{mine},x", after=seq) as some, stream(web, f"/api/runs/{other}/events", after=seq) as one:
        api.patch(f"/api/runs/{other}", json={"name": "other"})
        api.patch(f"/api/runs/{mine}", json={"name": "mine"})
        api.delete(f"/api/runs/{mine}")
        assert [next(some)[1:] for _ in range(2)][1] == ("deleted", {"run": mine})
        _, kind, data = next(one)
        assert (kind, data["run"], data["name"]) == ("status", other, "other")
    with stream(web, kinds="deleted", after=seq) as gone:
        assert next(gone)[1:] == ("deleted", {"run": mine})


def test_last_event_id_resumes_where_the_stream_broke(api: httpx.Client, web: Server) -> None:
    run = create(api)
    seq = api.get(f"/api/runs/{run}").json()["seq"]
    for index in range(6):
        api.patch(f"/api/runs/{run}", json={"name": f"n{index}"})
    with stream(web, runs=run, after=seq) as events:
        first = [next(events) for _ in range(3)]
    with stream(web, runs=run, headers={"last-event-id": str(first[-1][0])}, after=seq) as events:
        rest = [next(events) for _ in range(3)]
    assert [data["name"] for _, _, data in first + rest] == [f"n{index}" for index in range(6)]
    assert len({number for number, _, _ in first + rest}) == 6


def test_a_stream_without_a_number_starts_now(api: httpx.Client, web: Server) -> None:
    run = create(api)
    with stream(web, runs=run, after=0) as events:
        next(events)  # what comes now, is not of its creation
    for name in ("", "none", "²"):
        with stream(web, runs=run, headers=httpx.Headers({"last-event-id": name}, encoding="latin-1")) as events:
            api.patch(f"/api/runs/{run}", json={"name": "now"})
            assert next(events)[2]["name"] == "now"


def test_streams_that_end_make_room_for_others(api: httpx.Client, web: Server) -> None:
    with ExitStack() as stack:
        for _ in range(LIMIT):
            stack.enter_context(stream(web))
        assert open_streams(api) == LIMIT
    wait_for(lambda: open_streams(api) == 0, 30, "the streams to be let go")
    with stream(web):
        assert open_streams(api) == 1


def test_clients_that_hang_up_at_once_hold_no_stream(api: httpx.Client, web: Server) -> None:
    request = b"GET /api/events HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
    for _ in range(10 * LIMIT):
        with socket.create_connection(("127.0.0.1", web.settings.port), timeout=30) as connection:
            connection.sendall(request)
    wait_for(lambda: open_streams(api) == 0, 30, "the streams to be let go")
