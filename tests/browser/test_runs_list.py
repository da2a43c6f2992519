"""The list of runs in a browser: searching, grouping, columns, views, and news that disturb nobody."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, Route, expect

from app.runs.launching import Launcher
from app.runs.requests import NewRun, ResumeRequest
from tests.browser.finished_home import FinishedHome, finished_home
from tests.finished_runs import finished_run


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory, shapes: Path) -> Iterator[FinishedHome]:
    with finished_home(tmp_path_factory.mktemp("listed"), shapes) as found:
        for number in range(28):
            finished_run(found.runs, [0.1, 0.02 * number], name=f"member {number}", group=f"g{number % 2}")
        yield found


@pytest.fixture
def own(tmp_path: Path, shapes: Path) -> Iterator[FinishedHome]:
    with finished_home(tmp_path, shapes) as found:
        yield found


def rows(page: Page) -> list[str]:
    return page.locator("tr[data-run]:visible a.name").all_inner_texts()


def test_a_search_follows_the_keys_and_the_url_reproduces_the_view(home: FinishedHome, page: Page) -> None:
    page.goto(home.server.url)
    page.evaluate("window.neverReloaded = true")
    page.keyboard.press("/")
    page.keyboard.type("lr<2e-4 -member")
    expect(page.locator("[data-swap=count]")).to_have_text("1 of 30 runs")
    expect(page.locator("[data-search]")).to_be_focused()
    page.keyboard.type(" lr<x")
    expect(page.locator("[data-search-problem]")).to_contain_text("is a number, and 'x' is not (at character 20)")
    page.locator("[data-search]").fill("member")
    expect(page.locator("[data-search-problem]")).to_be_hidden()
    page.get_by_label("Group by").select_option("group")
    expect(page.locator(".group-row")).to_have_count(2)
    page.get_by_role("link", name="group g1", exact=True).press("Enter")
    expect(page.locator("tr[data-run]")).to_have_count(14)
    expect(page.get_by_role("link", name="group g1", exact=True)).to_be_focused()
    page.get_by_role("link", name="Name").click()
    expect(page.locator("th[data-column=name]")).to_have_attribute("aria-sort", "ascending")
    shown = rows(page)
    assert page.evaluate("window.neverReloaded") is True
    page.reload()
    assert rows(page) == shown
    expect(page.locator("[data-search]")).to_have_value("member")
    page.go_back()
    expect(page.locator("th[data-column=name]")).not_to_have_attribute("aria-sort", "ascending")
    page.locator("[data-search]").fill("")
    page.get_by_label("Group by").select_option("")
    expect(page.locator("[data-swap=count]")).to_have_text("30 runs")


def test_columns_are_added_moved_and_resized_and_stay(home: FinishedHome, page: Page) -> None:
    def shown() -> Any:
        return page.locator("thead th[data-column]").evaluate_all("cells => cells.map(cell => cell.dataset.column)")

    page.goto(home.server.url)
    before = shown()
    page.get_by_role("button", name="Columns").press("Enter")
    page.get_by_label("Column to add").fill("lr")
    page.get_by_label("Column to add").press("Enter")
    expect(page.locator("thead th[data-column='optimizer.lr']")).to_have_count(1)
    page.get_by_label("Learning rate earlier").press("Enter")
    expect(page.locator("thead th[data-column]").nth(-2)).to_have_attribute("data-column", "optimizer.lr")
    expect(page.get_by_label("Learning rate earlier")).to_be_focused()
    page.get_by_label("width of Learning rate in pixels").fill("120")
    page.get_by_label("width of Learning rate in pixels").press("Tab")
    expect(page.locator("col[data-width='optimizer.lr']")).to_have_attribute("width", "120")
    page.get_by_label("Remove Settings changed").click()
    expect(page.locator("thead th[data-column=changed]")).to_have_count(0)
    page.keyboard.press("Escape")
    assert "cols=" in page.url
    address, chosen = page.url, shown()
    page.goto(home.server.url)
    assert shown() == chosen
    expect(page).to_have_url(re.compile("cols="))

    edge = page.locator("th[data-column='optimizer.lr'] .resize").bounding_box()
    assert edge is not None
    page.mouse.move(edge["x"] + 3, edge["y"] + 5)
    page.mouse.down()
    page.mouse.move(edge["x"] - 37, edge["y"] + 5, steps=3)
    page.mouse.up()
    expect(page).to_have_url(re.compile(r"optimizer.lr(%7E|~)80"))
    page.locator("th[data-column=tags]").drag_to(page.locator("th[data-column=status]"))
    expect(page.locator("thead th[data-column]").nth(1)).to_have_attribute("data-column", "tags")
    page.goto(address)
    assert shown() == chosen
    page.get_by_role("button", name="Columns").click()
    page.get_by_role("button", name="Default columns").click()
    expect(page.locator("thead th[data-column=changed]")).to_have_count(1)
    assert shown() == before
    page.goto(home.server.url)
    assert shown() == before


def test_a_run_is_moved_to_its_section_when_its_row_is_newer_than_the_news(own: FinishedHome, page: Page) -> None:
    held: list[Route] = []
    page.route("**/api/events?*", lambda route: held.append(route))
    page.goto(own.server.url)
    row = page.locator(f"tr[data-run='{own.first}']")
    row.locator("[data-star]").focus()
    own.runs.resume(own.first, ResumeRequest(extend_epochs=1))
    with page.expect_response(f"**/runs/{own.first}/row?*"):
        row.locator("[data-star]").click()
    expect(row.locator(".status")).to_have_text("queued")
    expect(page.locator(f"[data-section=ended] tr[data-run='{own.first}']")).to_be_attached()
    held[0].continue_()
    expect(page.locator(f"[data-section=queued] tr[data-run='{own.first}']")).to_be_attached()


def test_news_keep_the_focus_the_selection_and_the_place(own: FinishedHome, page: Page) -> None:
    launcher = Launcher(own.runs.database, own.runs.settings)

    def launch(name: str) -> str:
        return launcher.create(NewRun(dataset="shapes100", preset="baseline-cnn", name=name, priority=0)).id

    for number in range(30):
        finished_run(own.runs, [0.2], name=f"done {number}")
    page.set_viewport_size({"width": 1440, "height": 500})
    page.goto(own.server.url)
    page.evaluate("window.neverReloaded = true")
    row = page.locator(f"tr[data-run='{own.first}']")
    row.locator("[data-select]").check()
    row.locator("[data-star]").focus()
    top = row.evaluate("node => { node.scrollIntoView({block: 'center'}); return node.getBoundingClientRect().top; }")
    waiting = launch("fresh")
    expect(page.locator(f"[data-section=queued] tr[data-run='{waiting}']")).to_be_attached()
    expect(page.locator("[data-swap=count]")).to_have_text("33 runs")
    expect(row.locator("[data-star]")).to_be_focused()
    expect(row.locator("[data-select]")).to_be_checked()
    assert abs(row.evaluate("node => node.getBoundingClientRect().top") - top) < 2
    own.runs.stop(waiting)
    expect(page.locator(f"[data-section=ended] tr[data-run='{waiting}']")).to_be_attached()
    expect(row.locator("[data-star]")).to_be_focused()
    assert abs(row.evaluate("node => node.getBoundingClientRect().top") - top) < 2
    assert page.evaluate("window.neverReloaded") is True

    page.keyboard.press("Escape")
    expect(page.locator("[data-bulk]")).to_be_hidden()
    page.get_by_label("select fresh").check()
    page.get_by_role("button", name="Tag…").click()
    page.get_by_label("Tag", exact=True).fill("new")
    page.keyboard.press("Enter")
    expect(page.locator(f"tr[data-run='{waiting}'] .cell-tags")).to_have_text("new")
    page.get_by_role("button", name="Undo").click()
    expect(page.locator(f"tr[data-run='{waiting}'] .cell-tags")).to_have_text("")
    page.get_by_text("More", exact=True).click()
    page.locator("[data-bulk-action=resume]").click()
    expect(page.locator(f"[data-section=queued] tr[data-run='{waiting}']")).to_be_attached()

    compare = page.locator("[data-bulk-compare]")
    page.get_by_label("select all on this page").check()
    expect(page.get_by_text("Compare takes at most 12 runs.")).to_be_visible()
    expect(compare).to_have_attribute("aria-disabled", "")
    page.keyboard.press("Escape")
    page.get_by_label("select done 1", exact=True).check()
    expect(compare).to_have_attribute("href", re.compile(r"/compare\?runs=\w+$"))
    expect(page.get_by_text("Compare takes at most 12 runs.")).to_be_hidden()


def test_a_view_is_saved_and_deleted_with_undo(own: FinishedHome, page: Page) -> None:
    page.goto(f"{own.server.url}/?q=first&sort=name")
    page.get_by_text("Views", exact=True).click()
    page.get_by_role("button", name="Save this view").click()
    name = page.get_by_label("Name of this view")
    name.fill("a/b")
    assert not name.evaluate("field => field.checkValidity()")
    name.fill("mine")
    page.get_by_label("Name of this view").press("Enter")
    expect(page.locator(".view")).to_have_count(1)
    page.goto(own.server.url)
    page.get_by_text("Views", exact=True).click()
    page.get_by_role("link", name="mine").click()
    expect(page.locator("[data-search]")).to_have_value("first")
    assert rows(page) == ["first"]
    page.get_by_text("Views", exact=True).click()
    page.get_by_label("Delete the view mine").click()
    expect(page.locator(".view")).to_have_count(0)
    page.get_by_role("button", name="Undo").click()
    expect(page.locator(".view")).to_have_count(1)


def test_rows_have_their_height(home: FinishedHome, page: Page) -> None:
    page.goto(home.server.url)
    page.locator("[data-select]").first.check()
    for width, height in ((390, 64), (768, 36), (1440, 36)):
        page.set_viewport_size({"width": width, "height": 900})
        box = page.locator("tr[data-run]").first.bounding_box()
        assert box is not None
        assert round(box["height"]) == height, width


def test_a_name_that_has_room_is_whole_beside_a_long_group(home: FinishedHome, page: Page) -> None:
    page.set_viewport_size({"width": 1440, "height": 900})
    page.goto(home.server.url)
    missing = page.locator("tr[data-run] .cell-name:has(.group)").first.evaluate("""cell => {
      const [name, group] = [cell.querySelector(".name"), cell.querySelector(".group")];
      name.textContent = "baseline-cnn lr3e-4 seed1";
      group.textContent = "baseline-cnn lr × seed × model.widths d1e0";
      const text = document.createRange();
      text.selectNodeContents(name);
      return text.getBoundingClientRect().width - name.getBoundingClientRect().width;
    }""")
    assert missing <= 0  # any fraction of a pixel hides three letters
