"""The runs page without a browser: sections, groups, columns, views and the search, as plain GET requests."""

from __future__ import annotations

import re
from collections.abc import Iterator
from html import unescape
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from sqlmodel import select

from app.runs.runs import Runs
from app.storage.db import Database
from app.storage.tables import Run, Status
from tests.databases import settings_of
from tests.finished_runs import finished_run
from tests.web.test_pages import Visitor
from trainer.rundir.folder import RunDir


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory, shapes: Path) -> Iterator[Runs]:
    home = tmp_path_factory.mktemp("list")
    (home / "datasets").symlink_to(shapes)
    settings = settings_of(home, port=80)
    database = Database(settings.url)
    database.migrate()
    runs = Runs(database, settings)
    for name, lr, acc in (("slow", 1e-4, 0.3), ("middle", 1e-3, 0.5), ("again", 1e-3, 0.6)):
        finished_run(runs, [acc / 2, acc], name=name, group="rates", overrides={"epochs": 2, "optimizer.lr": lr})
    error = {"code": "diverged", "message": "The loss is NaN at step 611.", "detail": None}
    others: tuple[tuple[str, dict[str, Any]], ...] = (
        ("broken", {"status": Status.FAILED, "error": error, "step": 611}),
        ("live", {"status": Status.RUNNING, "claim": 1}),
        *((f"waiting {number}", {"status": Status.QUEUED}) for number in range(7)),
    )
    for name, fields in others:
        run_id = finished_run(runs, [0.1], name=name, end=False)
        with database.write() as session:
            row = session.exec(select(Run).where(Run.id == run_id)).one()
            for field, value in fields.items():
                setattr(row, field, value)
    yield runs
    database.close()


@pytest.fixture
def visitor(runs: Runs) -> Iterator[Visitor]:
    visitor = Visitor(runs.settings)
    yield visitor
    visitor.app.state.services.database.close()


def names(text: str) -> list[str]:
    return [unescape(name) for name in re.findall(r'<a class="name"[^>]*>([^<]*)<', text)]


def link(text: str, words: str) -> str:
    """The address of the link that has these words in it, or as its title."""
    for address, attributes, shown in re.findall(r'<a [^>]*?href="([^"]*)"([^>]*)>(.*?)</a>', text):
        if words in shown or f'title="{words}"' in attributes:
            return unescape(address)
    raise AssertionError(f"no link {words!r}")


def test_running_runs_are_on_top_then_the_queue_then_ended_ones(visitor: Visitor) -> None:
    page = visitor.get("/").text
    waiting = [f"waiting {number}" for number in range(7)]
    assert names(page) == ["live", *waiting[:5], "broken", "again", "middle", "slow"]
    assert re.findall(r'<tbody data-section="(\w+)"', page) == ["active", "queued", "ended"]
    assert "12 runs" in page
    whole = visitor.get(link(page, "show all")).text
    assert names(whole) == ["live", *waiting, "broken", "again", "middle", "slow"]
    assert names(visitor.get(link(whole, "show the first 5")).text) == names(page)
    assert re.search(r'class="why"[^>]*>The loss is NaN at step 611.<', page)


def test_a_form_without_scripts_searches_sorts_and_filters(visitor: Visitor) -> None:
    page = visitor.get("/?q=lr%3A1e-3+-status%3Aqueued%2Crunning%2Cfailed&status=&sort=-best&group_by=&dataset=").text
    assert names(page) == ["again", "middle"]
    assert "2 of 12 runs" in page
    assert 'value="lr:1e-3 -status:queued,running,failed"' in page
    assert names(visitor.get(link(page, "Name")).text) == ["again", "middle"]
    assert re.search(r'aria-sort="descending"><a[^>]*>Best validation', page)
    nothing = visitor.get("/?q=zzz").text
    assert "No run matches the search “zzz”" in nothing
    assert names(visitor.get(link(nothing, "Clear the filters")).text)[0] == "live"


def test_a_search_that_cannot_be_read_is_told_beside_it(visitor: Visitor) -> None:
    answer = visitor.get("/?q=lr%3Cfast")
    assert answer.status_code == 422
    assert "optimizer.lr is a number, and &#39;fast&#39; is not (at character 4)" in answer.text
    assert 'value="lr&lt;fast"' in answer.text
    plain = visitor.get("/?q=lr%3Cfast", {"accept": "*/*"})
    assert plain.json()["error"]["detail"][0]["field"] == "q"
    api = visitor.get("/api/runs?q=lr%3Cfast")
    assert (api.status_code, api.json()["error"]["detail"][0]["field"]) == (422, "q")
    assert visitor.get("/?group_by=owner").status_code == visitor.get("/?sort=owner").status_code == 422


def test_groups_have_their_mean_and_best_and_open(visitor: Visitor) -> None:
    page = visitor.get("/?group_by=lr&q=group:rates&cols=best,val/loss,started").text
    assert names(page) == []
    assert "3 of 12 runs in 2 groups" in page
    text = re.sub(r"<[^>]*>|\s+", " ", page)
    assert re.search(r"1e-3 +2 runs .*?mean +55\.0 ± 7\.1 +best 60\.0 +mean +3\.45 ± 0\.0707 +best 3\.4 ", text)
    opened = visitor.get(link(page, "1e-3")).text
    assert names(opened) == ["again", "middle"]
    both = visitor.get(link(opened, "1e-4")).text
    assert names(both) == ["again", "middle", "slow"]
    assert names(visitor.get(link(both, "1e-3")).text) == ["slow"]
    alone = link(page, "show these runs alone")
    assert parse_qs(urlsplit(alone).query)["q"] == ["group:rates lr:0.001"]
    assert names(visitor.get(alone).text) == ["again", "middle"]
    by_best = visitor.get("/?group_by=group&sort=-best").text
    assert [unescape(one) for one in re.findall(r'class="toggle"[^>]*title="([^"]*)"', by_best)] == ["rates", "none"]


def test_columns_are_those_of_the_url_else_of_the_browser(visitor: Visitor) -> None:
    def shown(page: str) -> list[tuple[str, str]]:
        return re.findall(r'<col width="(\d+)" data-width="([^"]+)"', page)

    page = visitor.get(
        "/?cols=name~300,test/acc,lr~80,nonsense,best~9999,batch_size,model.widths,started&sort=-test/acc"
    ).text
    assert shown(page) == [
        ("300", "name"), ("108", "test/acc"), ("80", "optimizer.lr"), ("800", "best"), ("96", "batch_size"),
        ("96", "model.widths"), ("88", "started"),
    ]  # fmt: skip
    row = re.search(r'<tr data-run="(\w+)" data-run-status="finished">(.*?)</tr>', page, re.DOTALL)
    assert row is not None
    assert re.findall(r'title="([^"]*)">[^<]*</td>', row[2]) == ["59.0%", "1e-3", "64", "none"]
    cookie = {"cookie": "runs_columns=status%2Clr"}
    assert [name for _, name in shown(visitor.get("/", cookie).text)] == ["name", "status", "optimizer.lr"]
    assert [name for _, name in shown(visitor.get("/?cols=best", cookie).text)] == ["name", "best"]
    fragment = visitor.get(f"/runs/{row[1]}/row?cols=lr~80,val/acc").text
    assert re.findall(r'title="([^"]*)">[^<]*</td>', fragment) == ["1e-3", "60.0%"]


def test_views_are_saved_for_everyone_and_deleted(visitor: Visitor, runs: Runs) -> None:
    saved = visitor.post(
        "/views", {"name": "good <ones>", "query": "q=best>0.4&sort=-best&cursor=x&evil=1&cols=best,lr"}
    )
    assert saved.status_code == 303
    page = visitor.get(saved.headers["location"]).text
    assert names(page) == ["again", "middle"]
    assert link(page, "good &lt;ones&gt;") == saved.headers["location"]
    assert visitor.get("/api/views").json() == [
        {"name": "good <ones>", "query": "q=best%3E0.4&sort=-best&cols=best%2Clr"}
    ]
    assert visitor.post("/views", {"name": "a/b", "query": ""}).status_code == 422
    assert visitor.post("/views", {"name": "bad", "query": "q=lr<fast"}).status_code == 422
    assert visitor.post("/views", {"name": "bad", "query": "sort=owner"}).status_code == 422
    assert visitor.post("/views/good%20%3Cones%3E/delete").status_code == 303
    assert visitor.get("/api/views").json() == []
    assert visitor.post("/views/none/delete").status_code == 404
    (runs.settings.home / "views.json").write_text("{broken")
    assert visitor.get("/api/views").json() == []
    assert visitor.post("/views", {"name": "after", "query": "q=lr<1"}).status_code == 303
    assert [view["name"] for view in visitor.get("/api/views").json()] == ["after"]
    assert (runs.settings.home / "views.damaged.json").read_text() == "{broken"


def test_many_runs_are_resumed_cloned_moved_and_untagged(visitor: Visitor, runs: Runs) -> None:
    ids = [run.id for run in runs.queue()]
    first, second, third = ids[:3]

    def act(action: str, on: list[str], **more: Any) -> list[dict[str, Any]]:
        answer = visitor.send_json("/api/runs/bulk", {"ids": on, "action": action, **more})
        assert answer.status_code == 200, answer.text
        return list(answer.json()["results"])

    assert all(item["done"] for item in act("move", [first, second], to="last"))
    assert [run.id for run in runs.queue()] == [*ids[2:], first, second]
    assert all(item["done"] for item in act("move", [second, first], to="first"))
    assert [run.id for run in runs.queue()] == ids
    assert [item["changed"] for item in act("tag", [first, second], tag="t")] == [True, True]
    assert [item["changed"] for item in act("untag", [first, third], tag="t")] == [True, False]
    assert (runs.get(first).tags, runs.get(second).tags) == ([], ["t"])
    act("stop", [first])
    assert [item["done"] for item in act("resume", [first, second])] == [True, False]
    clones = [item["clone"] for item in act("clone", [first, second])]
    assert [runs.get(clone or "").parent for clone in clones] == [first, second]
    for clone in clones:
        runs.delete(clone or "")
    assert visitor.send_json("/api/runs/bulk", {"ids": ids, "action": "move"}).status_code == 422


def test_runs_of_one_name_show_their_groups(runs: Runs, visitor: Visitor) -> None:
    for group in ("one", "two"):
        finished_run(runs, [0.1], name="twin", group=group, tags=["twins"])
    page = visitor.get("/?tag=twins").text
    below = re.findall(r'<p class="below"><a class="group"[^>]*>([^<]*)</a></p>', page)
    assert below == ["two", "one"]
    assert "data-shows-group" not in visitor.get("/?tag=twins&group=one").text


def test_predict_is_offered_where_there_is_a_checkpoint(runs: Runs, visitor: Visitor) -> None:
    run_id = finished_run(runs, [0.1, 0.3, 0.2])
    offer = re.compile(r'href="/predict\?model=[^>]*data-predict ([^>]*)>')
    page = f"/runs/{run_id}"
    assert offer.findall(visitor.get(page).text) == ["hidden"]
    for step in (20, 30):
        weights = RunDir(runs.folder(run_id)).weights(step)
        weights.parent.mkdir(exist_ok=True)
        weights.write_bytes(b"")
    assert offer.findall(visitor.get(page).text) == ['title="With the best checkpoint, epoch 2"']
