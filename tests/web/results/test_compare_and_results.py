"""Compare and Results over HTTP: bad input, export formats, and HTML-escaping of user input."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from app.runs.runs import Runs
from app.storage.db import Database
from tests.app.results.test_cross_validation import finished_fold
from tests.conftest import Server
from tests.finished_runs import finished_run
from tests.web.conftest import web_process
from tests.web.test_pages import FORBIDDEN, HOSTILE

HTML = {"accept": "text/html"}


@pytest.fixture(scope="module")
def compared(tmp_path_factory: pytest.TempPathFactory, shapes: Path) -> Iterator[tuple[Server, list[str]]]:
    with web_process(tmp_path_factory.mktemp("compared"), shapes) as server:
        database = Database(server.settings.url)
        runs = Runs(database, server.settings)
        ids = [
            finished_run(runs, [0.5], name=HOSTILE, wrong=range(9), overrides={"epochs": 1, "seed": seed})
            for seed in range(2)
        ]
        yield server, ids
        database.close()


@pytest.fixture
def client(compared: tuple[Server, list[str]]) -> Iterator[httpx.Client]:
    with compared[0].client() as client:
        yield client


PAGES = [
    "/compare", "/compare?runs={0}", "/compare?runs={0},{1}&series=val/loss&x=step", "/compare?runs={0}&runs={1}",
    "/compare/tables?runs={0},,{1}", "/results", "/results?dataset=shapes100&limit=1", "/results?dataset=",
]  # fmt: skip


@pytest.mark.parametrize("path", PAGES)
def test_pages_hold_no_inline_code_and_show_words_as_text(
    client: httpx.Client, compared: tuple[Server, list[str]], path: str
) -> None:
    answer = client.get(path.format(*compared[1]), headers=HTML)
    assert answer.status_code == 200
    assert FORBIDDEN.search(re.sub(r"&#\d+;|&lt;[^<]*", "", answer.text)) is None
    assert "<img src=x" not in answer.text


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/compare?runs=none", 404),
        ("/api/compare?runs=none", 404),
        ("/api/compare?runs=%00%ff", 404),
        ("/api/compare", 422),
        ("/compare?runs=" + ",".join("abcdefghijklm"), 422),
        ("/api/compare?runs=" + ",".join("abcdefghijklm"), 422),
        ("/compare/tables?runs=none", 404),
        ("/compare?series=" + "x" * 501, 422),
        ("/compare?x=color", 422),
        ("/results?dataset=none", 404),
        ("/results?limit=0", 422),
        ("/api/results", 422),
        ("/api/results?dataset=none", 404),
        ("/api/results?dataset=..%2F..%2Fetc", 404),
        ("/api/results?dataset=shapes100&format=xml", 422),
        ("/api/results?dataset=shapes100&limit=9999999999999999999999", 422),
    ],
)
def test_what_cannot_be_answered_is_refused(client: httpx.Client, path: str, status: int) -> None:
    assert client.get(path).status_code == status
    assert client.get(path, headers=HTML).status_code == status


def test_any_name_of_a_series_is_shown_as_text(client: httpx.Client, compared: tuple[Server, list[str]]) -> None:
    """A script may log a series of any name."""
    query = {"runs": ",".join(compared[1]), "series": '<script>"x"'}
    text = client.get("/compare", params=query, headers=HTML).text
    assert "&lt;script&gt;" in text
    assert '<script>"x"' not in text


def test_the_apis(client: httpx.Client, compared: tuple[Server, list[str]]) -> None:
    first, second = compared[1]
    found = client.get("/api/compare", params={"runs": f"{first},{second}"}).json()
    assert [run["id"] for run in found["runs"]] == [first, second]
    assert [item["field"] for item in found["settings"]] == ["seed"]
    assert (found["pairs"][0]["verdict"], found["pairs"][0]["p"]) == ("cannot tell apart", 1.0)
    assert found["groups"][0]["count"] == 2

    query = {"dataset": "shapes100"}
    table = client.get("/api/results", params=query).json()
    assert [row["count"] for row in table["rows"]] == [2]
    assert "half_width" in table["rows"][0]
    assert not {"val_count", "test_count"} & table["rows"][0].keys()  # the API is as documented
    text = client.get("/api/results", params=query | {"format": "csv"})
    assert text.headers["content-type"] == "text/csv; charset=utf-8"
    assert text.headers["content-disposition"] == 'attachment; filename="results-shapes100.csv"'
    assert text.text.count("\r\n") == 2
    markdown = client.get("/api/results", params=query | {"format": "markdown"})
    assert markdown.headers["content-type"] == "text/markdown; charset=utf-8"
    assert markdown.text.startswith("Results on shapes100")


def test_the_page_of_a_group_has_the_pooled_figures_of_its_folds(compared: tuple[Server, list[str]]) -> None:
    server = compared[0]
    database = Database(server.settings.url)
    runs = Runs(database, server.settings)
    pages = []
    with server.client() as client:
        for fold in (1, 2, 3):
            finished_fold(runs, fold, [0.1 * fold], group="folded")
            pages.append(" ".join(re.sub(r"<[^>]*>", " ", client.get("/?group=folded").text).split()))
        (found,) = client.get("/api/results/cross-validation?group=folded").json()
    database.close()
    assert "1 of 3 folds have finished" in pages[0]
    assert "folds have finished" not in pages[2]
    assert "validation accuracy 20.0 ± 10.0%" in pages[2]
    pooled = found["pooled"]
    assert f"{pooled['right']:,} of {pooled['images']:,} held-out images" in pages[2]
    assert sum(map(sum, pooled["matrix"])) == pooled["images"] == 4000
