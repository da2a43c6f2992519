"""Promise 24: a share link shows its object and nothing else."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
from fastapi import FastAPI

from app.auth.password import PasswordFile
from app.auth.scopes import Scope
from app.auth.shares import Shares
from app.auth.tokens import Tokens
from app.main import create_app
from app.runs.requests import RunPatch
from app.runs.runs import Runs
from app.storage.db import Database
from tests.conftest import NO_TLS, Server, wait_for
from tests.databases import settings_of
from tests.finished_runs import finished_run
from tests.web.conftest import web_process
from tests.web.errors import assert_error
from tests.web.locked import CANARY, CHEAP, PASSWORD
from tests.web.test_promise_12_access import METHODS, filled, paths_of

HTML = {"accept": "text/html, */*"}
REPORT = """# What came of it

```chart
runs: {run}
series: val/acc, train/loss
```

```runs
runs: {run}, 0123456789
columns: status, best, optimizer.lr, nonsense
```
"""


@dataclass
class Home:
    """A locked server. `shown` and `second` may be shared; `hidden` has the canary in all its texts."""

    server: Server
    token: str
    shown: str
    second: str
    hidden: str
    report: str

    @property
    def shares(self) -> Shares:
        return Shares(self.server.settings.access)

    def client(self, *, signed: bool = True) -> httpx.Client:
        headers = {"authorization": f"Bearer {self.token}"} if signed else {}
        return httpx.Client(base_url=self.server.url, headers=headers, verify=NO_TLS, timeout=30)

    def share(self, **body: object) -> str:
        """Create a link and return its path."""
        with self.client() as client:
            answer = client.post("/api/shares", json=body)
        assert answer.status_code == 201, answer.text
        return str(answer.json()["url"]).removeprefix(self.server.url)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory, shapes: Path) -> Iterator[Home]:
    folder = tmp_path_factory.mktemp("shares")
    settings = settings_of(folder)
    PasswordFile(settings.access).set(PASSWORD, n=CHEAP)
    token = Tokens(settings.access).add("launch", [Scope.LAUNCH])
    with web_process(folder, shapes, TRACKSIDE_RECHECK_SECONDS="0.1") as server:
        database = Database(settings.url)
        runs = Runs(database, settings)
        shown, second = (finished_run(runs, [0.2, 0.4, best], name=name) for best, name in ((0.5, "one"), (0.4, "two")))
        hidden = finished_run(runs, [0.3], name=CANARY, tags=[CANARY], group=CANARY)
        runs.patch(hidden, RunPatch(notes=CANARY, expectation=CANARY))
        database.close()
        with httpx.Client(base_url=server.url, headers={"authorization": f"Bearer {token}"}, timeout=30) as client:
            body = {"title": "The first report", "text": REPORT.format(run=shown)}
            report = client.post("/api/reports", json=body).json()["id"]
            client.post("/api/reports", json={"title": CANARY, "text": CANARY})
        yield Home(server, token, shown, second, hidden, report)


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FastAPI]:
    made = create_app(settings_of(tmp_path_factory.mktemp("unused")))
    yield made
    made.state.services.database.close()


@pytest.fixture
def visitor(home: Home) -> Iterator[httpx.Client]:
    with home.client(signed=False) as client:
        yield client


@pytest.mark.parametrize("kind", ["run", "compare", "report"])
def test_promise_24_every_route_below_a_share_link(home: Home, app: FastAPI, visitor: httpx.Client, kind: str) -> None:
    target = {"run": home.shown, "compare": [home.shown, home.second], "report": home.report}[kind]
    link = home.share(**{kind: target})
    opened = set()
    asked = [(method, home.shown) for method in METHODS] + [("GET", home.hidden)]
    for path in [*paths_of(app), "/", "/nothing"]:
        for method, run in asked:
            address = link + filled(path, run)
            answer = visitor.request(method, address, headers=HTML)
            assert CANARY not in answer.text, address
            if answer.status_code == 200:
                opened.add((method, path, run))
            else:
                assert answer.status_code in (404, 405), (method, address)
    pages = {"/", "/shared", "/static/css/base.css"}
    data = {"/api/runs/{run_id}/metrics", "/api/runs/{run_id}/metrics.csv"}
    assert {(method, path) for method, path, run in opened if run == home.shown} == {
        (method, path) for method in ("GET", "HEAD") for path in pages | data
    }
    assert {path for _, path, run in opened if run == home.hidden} == pages


@pytest.mark.parametrize("kind", ["run", "compare", "report"])
def test_a_link_shows_its_object(home: Home, visitor: httpx.Client, kind: str) -> None:
    target = {"run": home.shown, "compare": f"{home.shown},{home.second}", "report": home.report}[kind]
    link = home.share(**{kind: target})
    answer = visitor.get(link, headers=HTML)
    assert answer.status_code == 200
    assert answer.headers["referrer-policy"] == "no-referrer"
    assert answer.headers["x-robots-tag"] == "noindex"
    assert "set-cookie" not in answer.headers
    assert (">two<" in answer.text) == (kind == "compare")
    assert f'data-root="{link}"' in answer.text
    assert "<form" not in answer.text
    assert f'href="{link}/runs' not in answer.text
    if kind == "report":
        assert "What came of it</h1>" in answer.text
        assert "There is no run 0123456789." in answer.text
        assert "There is no column nonsense." in answer.text


@pytest.mark.parametrize(
    "query",
    [
        "", "runs=", "kinds=metrics", "runs={hidden}&kinds=metrics", "runs={shown},{hidden}&kinds=metrics",
        "runs={shown}&runs={hidden}&kinds=metrics", "runs={shown}", "runs={shown}&kinds=status",
        "runs={shown}&kinds=metrics,log", "runs={shown}&kinds=metrics&kinds=log", "runs={shown};{hidden}&kinds=metrics",
    ],
)  # fmt: skip
def test_promise_24_no_other_live_events(home: Home, visitor: httpx.Client, query: str) -> None:
    link = home.share(run=home.shown)
    asked = query.format(shown=home.shown, hidden=home.hidden)
    assert_error(visitor.get(f"{link}/api/events?{asked}"), 404)


def test_promise_24_no_way_around(home: Home, visitor: httpx.Client) -> None:
    link = home.share(run=home.shown)
    for path in (
        "/../api/runs", "/%2e%2e/api/runs", "//api/runs", "/api/runs/..%2f..%2fapi%2fruns", "/static/../api/runs",
        "/static/%2e%2e/%2e%2e/api/runs", f"/api/runs/{home.shown}%2f..%2f{home.hidden}/metrics",
        f"/api/runs/{home.hidden}/metrics?run_id={home.shown}", f"/api/runs/{home.shown}/metrics/../log",
        f"/shared/{link.rpartition('/')[2]}", "/api/runs/", "/runs/" + home.shown,
    ):  # fmt: skip
        request = visitor.build_request("GET", home.server.url)
        request.url = httpx.URL(home.server.url).copy_with(raw_path=(link + path).encode())
        answer = visitor.send(request)
        assert answer.status_code in (303, 404), path
        assert CANARY not in answer.text
    for path in ("/shared", "/shared/", "/shared/wrong", "/shared//api/runs"):
        assert visitor.get(path).status_code in (303, 401, 404), path


def test_promise_24_a_session_does_not_widen_a_link(home: Home) -> None:
    link = home.share(run=home.shown)
    with home.client() as client:
        assert client.get(f"{link}/api/runs").status_code == 404
        assert client.get(f"{link}/api/runs/{home.hidden}/metrics").status_code == 404
        assert client.get("/shared").status_code == 404


def test_a_revoked_link_shows_nothing_and_its_streams_end(home: Home, visitor: httpx.Client) -> None:
    link = home.share(run=home.shown)
    with home.client() as client:
        (share, *_) = client.get("/api/shares").json()
        assert "url" not in share
        address = f"{link}/api/events?runs={home.shown}&kinds=metrics"
        with visitor.stream("GET", address) as stream:
            assert stream.status_code == 200
            assert client.delete(f"/api/shares/{share['id']}").status_code == 204
            assert b"".join(stream.iter_raw()).startswith(b"")  # it ends
        assert client.delete(f"/api/shares/{share['id']}").status_code == 404
    answer = visitor.get(link, headers=HTML)
    assert answer.status_code == 404
    assert "There is no such link, or it was revoked." in answer.text
    assert "<nav" not in answer.text


def test_a_link_expires(home: Home, visitor: httpx.Client) -> None:
    _, secret = home.shares.add("run", home.shown, "one", days=-1)
    assert visitor.get(f"/shared/{secret}").status_code == 404
    link = home.share(run=home.shown, days=1)
    assert visitor.get(link).status_code == 200


def test_what_was_deleted_is_not_shown(home: Home, visitor: httpx.Client) -> None:
    with home.client() as client:
        made = client.post("/api/reports", json={"title": "Gone", "text": "soon"}).json()["id"]
        link = home.share(report=made)
        assert visitor.get(link).status_code == 200
        assert client.delete(f"/api/reports/{made}").status_code == 204
    assert visitor.get(link).status_code == 404


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({}, 422), ({"run": "a", "report": "b"}, 422), ({"compare": []}, 422), ({"compare": None}, 422),
        ({"compare": ","}, 422), ({"compare": ["a"] * 13}, 422), ({"run": "a", "days": 0}, 422),
        ({"run": "a", "extra": 1}, 422), ({"run": "0123456789"}, 404), ({"compare": ["0123456789"]}, 404),
        ({"report": "0123456789"}, 404), ({"report": "../../x"}, 404),
    ],
)  # fmt: skip
def test_what_cannot_be_shared(home: Home, body: dict[str, object], status: int) -> None:
    with home.client() as client:
        assert_error(client.post("/api/shares", json=body), status)


def test_links_on_their_page(home: Home, visitor: httpx.Client) -> None:
    with home.client() as client:
        answer = client.post("/shares", data={"run": home.shown}, headers=HTML)
        assert answer.headers["cache-control"] == "no-store"
        address = answer.text.partition("data-made")[2].partition(">")[2].partition("<")[0]
        assert visitor.get(address).status_code == 200
        page = client.get("/shares", headers=HTML).text
        assert address not in page
        share = page.partition('data-share="')[2].partition('"')[0]
        assert client.post(f"/shares/{share}/revoke").status_code == 303
    wait_for(lambda: visitor.get(address).status_code == 404, 5, "the end of the link")


def test_the_secret_is_in_no_file(home: Home) -> None:
    secret = home.share(run=home.shown).rpartition("/")[2].encode()
    for path in home.server.settings.home.rglob("*"):
        assert not path.is_file() or secret not in path.read_bytes(), path
