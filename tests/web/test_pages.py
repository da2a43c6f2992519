"""Rendered pages, without a browser: statuses, no inline code, and HTML-escaping of user input."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest
from jinja2 import UndefinedError

from app.main import create_app
from app.runs.launching import Launcher
from app.runs.requests import NewRun
from app.runs.runs import Runs
from app.settings import Settings
from app.storage.db import Database
from app.web.templates import make_templates
from tests.databases import settings_of
from tests.finished_runs import finished_run

HOSTILE = "<img src=x onerror=alert(1)>\"'&"
FORBIDDEN = re.compile(r"<script(?![^>]*\ssrc=)|<style|\sstyle=|\son\w+\s*=\s*[\"']|javascript:", re.IGNORECASE)


@pytest.fixture
def settings(tmp_path: Path, shapes: Path) -> Settings:
    (tmp_path / "datasets").symlink_to(shapes)
    return settings_of(tmp_path, port=80)


@pytest.fixture
def runs(settings: Settings) -> Iterator[Runs]:
    database = Database(settings.url)
    database.migrate()
    yield Runs(database, settings)
    database.close()


class Visitor:
    """Requests pages from an application in this process, with the headers of a browser."""

    def __init__(self, settings: Settings) -> None:
        self.app = create_app(settings)

    def get(self, path: str, headers: dict[str, str] | None = None) -> httpx.Response:
        return self._wait("GET", path, {}, headers or {})

    def post(self, path: str, data: dict[str, str] | None = None) -> httpx.Response:
        return self._wait("POST", path, {"data": data}, {})

    def send_json(self, path: str, body: Any) -> httpx.Response:
        return self._wait("POST", path, {"json": body}, {})

    def _wait(self, method: str, path: str, body: dict[str, Any], extra: dict[str, str]) -> httpx.Response:
        """Run `_send` in a new thread: a browser test leaves its event loop running in the main thread."""
        with ThreadPoolExecutor(1) as thread:
            return thread.submit(lambda: asyncio.run(self._send(method, path, body, extra))).result()

    async def _send(self, method: str, path: str, body: dict[str, Any], extra: dict[str, str]) -> httpx.Response:
        transport = httpx.ASGITransport(self.app, raise_app_exceptions=False)
        headers = {"accept": "text/html"} | extra
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1", headers=headers) as client:
            return await client.request(method, path, **body)


@pytest.fixture
def client(settings: Settings, runs: Runs) -> Iterator[Visitor]:
    visitor = Visitor(settings)
    yield visitor
    visitor.app.state.services.database.close()


@pytest.fixture
def hostile_run(runs: Runs) -> str:
    request = NewRun(dataset="shapes100", preset="baseline-cnn", name=HOSTILE, tags=[HOSTILE], expectation=HOSTILE)
    return Launcher(runs.database, runs.settings).create(request.model_copy(update={"priority": 0})).id


PAGES = [
    "/", "/?q=zzz", "/?status=queued&sort=-best_acc", "/runs/new", "/runs/new?from={id}", "/runs/{id}",
    "/runs/{id}?tab=log", "/runs/{id}?tab=setup", "/runs/{id}?tab=nonsense", "/runs/{id}/row", "/lanes", "/datasets",
    "/datasets/shapes100", "/datasets/shapes100?split=test&class=99&page=3", "/predict", "/predict?model={id}",
    "/predict?model={id}&beside={id}",
]  # fmt: skip


FINISHED_PAGES = [
    "/", "/runs/{id}", "/runs/{id}?tab=checks", "/runs/{id}?tab=errors", "/runs/{id}?tab=errors&cell=0,0",
    "/runs/{id}?tab=setup", "/runs/{id}/row", "/runs/{id}/findings", "/runs/new?from={id}&from_step=10",
    "/compare?runs={id}", "/results", "/predict", "/models", "/models/{id}", "/system", "/system/workers", "/tokens",
]  # fmt: skip


@pytest.mark.parametrize("path", PAGES)
def test_pages_hold_no_inline_code_and_show_words_as_text(client: Visitor, hostile_run: str, path: str) -> None:
    check_text(client.get(path.format(id=hostile_run)))


@pytest.mark.parametrize("path", FINISHED_PAGES)
def test_pages_of_a_finished_run_do_so_too(client: Visitor, runs: Runs, path: str) -> None:
    run_id = finished_run(runs, [0.2, 0.5], wrong=range(9), name=HOSTILE, tags=[HOSTILE], expectation=HOSTILE)
    check_text(client.get(path.format(id=run_id)))


def check_text(answer: httpx.Response) -> None:
    assert answer.status_code == 200
    assert FORBIDDEN.search(re.sub(r"&#\d+;|&lt;[^<]*", "", answer.text)) is None
    assert "<img src=x" not in answer.text


def test_a_name_that_a_template_does_not_know_is_an_error() -> None:
    template = make_templates().env.from_string("{% if page.misspelled %}{% endif %}")
    with pytest.raises(UndefinedError, match="misspelled"):
        template.render(page={})


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/runs/0000000000", 404),
        ("/runs/new?from=0000000000", 404),
        ("/datasets/none", 404),
        ("/datasets/shapes100?split=middle", 404),
        ("/datasets/shapes100?page=0", 422),
        ("/predict?model=%3Cscript%3E", 404),
        ("/?status=dancing", 422),
        ("/?sort=owner", 422),
        ("/?cursor=x", 422),
        ("/nowhere", 404),
    ],
)
def test_what_is_not_there_gets_a_page_that_says_so(client: Visitor, path: str, status: int) -> None:
    answer = client.get(path)
    assert answer.status_code == status
    assert answer.headers["content-type"].startswith("text/html")
    assert "All runs" in answer.text


def test_older_runs_follow_the_newer_ones(client: Visitor, runs: Runs) -> None:
    ids = [
        Launcher(runs.database, runs.settings).create(NewRun(dataset="shapes100", preset="baseline-mlp", priority=0)).id
        for _ in range(53)
    ]
    for run_id in ids:
        runs.stop(run_id)
    first = client.get("/")
    older = re.search(r'href="(/\?cursor=[^"]+)"', first.text)
    assert older is not None
    second = client.get(older[1].replace("&amp;", "&"))
    shown = re.findall(r'<tr data-run="(\w+)"', first.text + second.text)
    assert shown == ids[::-1]


def test_a_wrong_form_comes_back_with_what_was_typed(client: Visitor, hostile_run: str) -> None:
    typed = {"dataset": "shapes100", "preset": "baseline-cnn", "optimizer.lr": "3e+", "label_smoothing": "2"}
    answer = client.post("/runs", typed | {"expectation": HOSTILE})
    assert answer.status_code == 422
    assert 'value="3e+"' in answer.text
    for name in ("optimizer.lr", "label_smoothing"):
        assert re.search(rf'data-error-for="{name}"\s*>[^<]+<', answer.text)
    assert HOSTILE not in answer.text
    assert "line" in client.post("/runs", {"dataset": "shapes100", "preset": "baseline-cnn", "name": "a\nb"}).text
    assert "no dataset called" in client.post("/runs", {"dataset": "gone", "preset": "baseline-cnn"}).text
    assert "nonsense: unknown field" in client.post("/runs", typed | {"nonsense": "1"}).text
    assert client.post("/runs", typed | {"from": "0000000000"}).status_code == 404


def test_the_small_forms(client: Visitor, runs: Runs, hostile_run: str) -> None:
    edit = client.post(
        f"/runs/{hostile_run}/edit", data={"name": "new", "tags": " a, ,b ", "notes": "n", "expectation": ""}
    )
    assert (edit.status_code, edit.headers["location"]) == (303, f"/runs/{hostile_run}?tab=setup")
    run = runs.get(hostile_run)
    assert (run.name, run.tags, run.notes) == ("new", ["a", "b"], "n")
    assert (client.post(f"/runs/{hostile_run}/edit", data={"name": ""})).status_code == 422
    clone = client.post(f"/runs/{hostile_run}/clone")
    assert runs.get(clone.headers["location"].rsplit("/", 1)[-1]).parent == hostile_run
    assert (client.post(f"/runs/{hostile_run}/resume")).status_code == 409
    assert (client.post(f"/runs/{hostile_run}/stop")).status_code == 303
    assert (client.post(f"/runs/{hostile_run}/stop")).status_code == 409
    assert (client.post(f"/runs/{hostile_run}/resume", data={"extend_epochs": "many"})).status_code == 422
    assert (client.post(f"/runs/{hostile_run}/delete")).headers["location"] == "/"
    assert (client.get(f"/runs/{hostile_run}")).status_code == 404
