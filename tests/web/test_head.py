"""HEAD is answered wherever GET is, with the same headers and no body."""

from __future__ import annotations

import httpx
import pytest

from tests.conftest import Server
from tests.web.test_events_api import open_streams
from tests.web.wire import answer_to

VARYING = {"date", "transfer-encoding"}  # the latter says how a body is sent that HEAD does not have


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/", 200),
        ("/datasets", 200),
        ("/datasets/shapes100", 200),
        ("/healthz", 200),
        ("/readyz", 200),
        ("/metrics", 200),
        ("/openapi.json", 200),
        ("/static/favicon.svg", 200),
        ("/api/runs", 200),
        ("/api/datasets/shapes100/images/train/0.png", 200),
        ("/api/events", 200),
        ("/api/runs/0000000000", 404),
        ("/api/runs?limit=0", 422),
        ("/nothing", 404),
        ("/api/predict", 405),
    ],
)
def test_head_is_answered_as_get_without_a_body(api: httpx.Client, path: str, status: int) -> None:
    with api.stream("GET", path) as expected:
        answer = api.head(path)
        assert (answer.status_code, expected.status_code) == (status, status)
        assert set(answer.headers.items()) ^ set(expected.headers.items()) <= {
            item for item in [*answer.headers.items(), *expected.headers.items()] if item[0] in VARYING
        }


def test_nothing_follows_the_headers_and_no_stream_is_left(api: httpx.Client, web: Server) -> None:
    for path in ("/healthz", "/api/events"):
        parts = [f"HEAD {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n".encode()]
        answer = answer_to(web, parts)
        assert (answer.status_code, answer.content) == (200, b"")
    assert open_streams(api) == 0


def test_a_range_of_a_file_has_its_length(api: httpx.Client) -> None:
    answer = api.head("/static/favicon.svg", headers={"range": "bytes=0-9"})
    assert (answer.status_code, answer.headers["content-length"]) == (206, "10")
