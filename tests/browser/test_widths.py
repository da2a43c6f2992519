"""The header and the list of runs at every width from a small phone to a wide screen: nothing has no room."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page

from tests.browser.finished_home import FinishedHome, finished_home

# Both sides of each breakpoint of the style sheets, and between.
WIDTHS = (320, 360, 390, 480, 600, 700, 701, 720, 768, 800, 818, 840, 900, 901, 960, 1024, 1100, 1101, 1240, 1300, 1301,
          1440, 1920, 2560)  # fmt: skip
LEAST_NAME = 240
LEAST_NAME_ON_A_PHONE = 140


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory, shapes: Path) -> Iterator[FinishedHome]:
    with finished_home(tmp_path_factory.mktemp("widths"), shapes) as found:
        yield found


@pytest.fixture
def tab(browser: Browser) -> Iterator[Page]:
    context = browser.new_context()
    yield context.new_page()
    context.close()


def at_widths(tab: Page, widths: Iterable[int] = WIDTHS) -> Iterator[int]:
    for width in widths:
        tab.set_viewport_size({"width": width, "height": 900})
        yield width


def test_the_header_shows_all_its_links(home: FinishedHome, tab: Page) -> None:
    tab.goto(home.server.url)
    for width in at_widths(tab):
        boxes = [link.bounding_box() for link in tab.locator(".bar nav a, [data-new-run]").all()]
        for box in boxes:
            assert box is not None
            assert box["x"] >= 0, width
            assert box["x"] + box["width"] <= width, width


@pytest.mark.parametrize("page", ["runs", "run", "system"])
def test_the_header_and_the_page_begin_at_the_same_place(home: FinishedHome, tab: Page, page: str) -> None:
    tab.goto(f"{home.server.url}{home.pages[page]}")
    for width in at_widths(tab, (390, 768, 1440, 1920, 2560)):
        lefts = [tab.locator(selector).first.bounding_box() for selector in (".brand", "main > div:not([hidden])")]
        assert lefts[0] is not None
        assert lefts[1] is not None
        assert abs(lefts[0]["x"] - lefts[1]["x"]) < 1, width


def test_a_run_has_room_for_its_name(home: FinishedHome, tab: Page) -> None:
    tab.goto(home.server.url)
    for width in at_widths(tab):
        box = tab.locator("td.cell-name").first.bounding_box()
        assert box is not None
        assert box["width"] >= (LEAST_NAME if width > 700 else LEAST_NAME_ON_A_PHONE), width
        over = tab.locator(".table-box").evaluate("box => box.scrollWidth - box.clientWidth")
        assert over <= 0, width
