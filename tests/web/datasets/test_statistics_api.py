"""The statistics of a dataset are computed when they are asked for by POST; looking at them has no effect."""

from __future__ import annotations

import httpx

from tests.conftest import Server, wait_for
from tests.processes import children_with
from tests.web.errors import assert_error
from tests.web.locked import Locked

PATH = "/api/datasets/shapes100/statistics"


def surveys(server: Server) -> list[int]:
    found = children_with("trainer.data.survey", server.processes["web"].pid, recursive=True)
    return [child.pid for child in found]


def test_only_a_post_begins_the_computation(api: httpx.Client, web: Server) -> None:
    for method in ("GET", "HEAD"):
        assert api.request(method, "/datasets/shapes100").status_code == 200
        assert api.request(method, PATH).status_code == 409
    assert not surveys(web)
    assert_error(api.post(PATH, headers={"sec-fetch-site": "cross-site"}), 403)
    assert_error(api.post(PATH.replace("shapes100", "none")), 404)
    begun = api.post(PATH)
    assert (begun.status_code, begun.json()) == (202, {"status": "measuring"})
    assert api.post("/datasets/shapes100/statistics").headers["location"] == "/datasets/shapes100"
    wait_for(lambda: api.get(PATH).status_code == 200, what="the statistics")
    assert api.post(PATH).json() == {"status": "finished"}


def test_a_token_that_may_read_looks_and_begins_nothing(locked: Locked) -> None:
    with locked.client("read") as client:
        assert_error(client.get(PATH), 409)
        assert_error(client.post(PATH), 403)
        assert_error(client.post("/api/models/x/onnx"), 403)
        assert "data-measuring" in client.get("/datasets/shapes100").text
    assert not surveys(locked.server)
