"""A real Chromium, driven by Playwright."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Locator, Page, expect, sync_playwright

from tests.browser.find_browser import installed

ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--host-resolver-rules=MAP *.test 127.0.0.1",  # host names of other sites, resolved to this machine
]


# A busy machine is slow. Playwright's own 5 s would be the shortest deadline of all tests.
expect.set_options(timeout=20_000)


@pytest.fixture(scope="package")
def browser() -> Iterator[Browser]:
    path = os.environ.get("TRACKSIDE_TEST_BROWSER") or installed()
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=path, args=ARGUMENTS)
        yield chromium
        chromium.close()


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """A new page of 1440×900 that fails the test on any script error."""
    context = browser.new_context(viewport={"width": 1440, "height": 900})
    tab = context.new_page()
    faults: list[str] = []
    tab.on("pageerror", lambda error: faults.append(str(error)))
    yield tab
    context.close()
    assert faults == []


def zoom(page: Page, plot: Locator) -> None:
    """Zoom by dragging across a part of a chart, and wait until the chart shows that part."""
    box = plot.bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + 100, box["y"] + 50)
    page.mouse.down()
    page.mouse.move(box["x"] + 300, box["y"] + 60, steps=4)
    page.mouse.up()
    expect(page.locator("[data-back-to-live]")).to_be_visible()


def downloaded(page: Page, figure: Locator, action: str, folder: Path) -> bytes:
    """What a button of a chart, or of its menu, downloads."""
    if not (button := figure.locator(f"[data-{action}]")).is_visible():
        figure.get_by_label("More").click()
    with page.expect_download() as download:
        button.click()
    file = folder / action
    download.value.save_as(file)
    return file.read_bytes()
