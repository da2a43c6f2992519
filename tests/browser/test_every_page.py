"""Every page in a real browser: wide enough at every width, open to all in both themes, silent, without dead links.

With TRACKSIDE_TEST_EVERY_LOOK set, axe-core checks each page in both themes at each of three widths; else in two of
these six looks.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from html import unescape
from pathlib import Path
from typing import Literal

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, ConsoleMessage, Page, Response

from app.runs.launching import Launcher
from app.runs.requests import NewRun
from tests.browser.finished_home import FinishedHome, finished_home
from trainer.rundir.events import EventWriter

HOSTILE = '<script>document.title="owned"</script> \u202eevil ' + "very long " * 12
WIDTHS = (320, 390, 701, 768, 901, 1101, 1440, 2560)  # both sides of each breakpoint
UNREADABLE = "/?q=lr%3Cx"  # a search that is refused, as are the links of its page
PARTS = 6
Look = tuple[Literal["light", "dark"], int]
LOOKS: tuple[tuple[Look, ...], ...] = (
    (("light", 1440), ("dark", 390)),
    (("dark", 768), ("light", 390)),
    (("dark", 1440), ("light", 768)),
)
# Charts are resized in the frame after the window.
OVER = """new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(
  () => done(document.documentElement.scrollWidth - innerWidth))))"""


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory, shapes: Path) -> Iterator[FinishedHome]:
    with finished_home(tmp_path_factory.mktemp("every"), shapes) as found:
        finding = {"step": 20, "kind": "flat", "level": "warn", "message": "The loss is flat.", "evidence": {}}
        events = EventWriter(found.runs.folder(found.first), 1)
        events.emit("finding", **finding)
        events.close()
        found.server.wait_measured("shapes100")
        yield found


@pytest.fixture(scope="module")
def pages(home: FinishedHome) -> list[str]:
    launcher = Launcher(home.runs.database, home.runs.settings)
    hostile = NewRun(dataset="shapes100", preset="baseline-cnn", name=HOSTILE.strip()[:180], tags=["a", "b"])
    run = f"/runs/{launcher.create(hostile).id}"
    return [
        *home.pages.values(), "/?status=queued", "/?group_by=dataset&open=shapes100", UNREADABLE, "/?q=zzz",
        "/?cols=status,optimizer.lr,val/acc,best", run, f"{run}?tab=setup", f"{home.pages['errors']}&cell=1,2",
        "/datasets/shapes100?class=3", "/datasets/shapes100?view=duplicates", "/predict",
    ]  # fmt: skip


@pytest.fixture
def said(tab: Page) -> list[str]:
    """What goes wrong on the pages of `tab`: script errors, warnings, files that are missing."""
    found: list[str] = []

    def note(message: ConsoleMessage) -> None:
        # Some pages are refusals, and without a predictor there are no estimates: their status is not a fault.
        if message.type in ("error", "warning") and not message.text.startswith("Failed to load resource"):
            found.append(f"{tab.url}: {message.text}")

    def check(response: Response) -> None:
        if response.status >= 400 and "/static/" in response.url:
            found.append(f"{tab.url}: {response.url}: {response.status}")

    tab.on("console", note)
    tab.on("response", check)
    tab.on("pageerror", lambda error: found.append(f"{tab.url}: {error}"))
    return found


@pytest.fixture
def tab(browser: Browser) -> Iterator[Page]:
    context = browser.new_context()
    yield context.new_page()
    context.close()


@pytest.mark.parametrize("part", range(PARTS))
def test_every_page(home: FinishedHome, pages: list[str], tab: Page, said: list[str], part: int) -> None:
    axe = Axe()
    everything = "TRACKSIDE_TEST_EVERY_LOOK" in os.environ
    for number, path in enumerate(pages[part::PARTS]):
        tab.goto(home.server.url + path)
        tab.wait_for_load_state("load")
        assert tab.title() != "owned"
        tab.evaluate("document.querySelector('[data-connection]').hidden = false")
        for width in WIDTHS:
            tab.set_viewport_size({"width": width, "height": 900})
            if (over := tab.evaluate(OVER)) > 0:
                said.append(f"{path} at {width}: {over} px too wide")
        for theme, width in sum(LOOKS, ()) if everything else LOOKS[number % len(LOOKS)]:
            tab.emulate_media(color_scheme=theme)
            tab.set_viewport_size({"width": width, "height": 900})
            for violation in axe.run(tab).response["violations"]:
                nodes = [node["target"] for node in violation["nodes"][:3]]
                said.append(f"{path} {theme} {width}: {violation['id']}: {violation['help']} {nodes}")
    assert said == []


def test_no_link_is_dead(home: FinishedHome, pages: list[str]) -> None:
    seen: set[str] = set()
    dead: list[str] = []
    with home.server.client() as client:
        for path in pages:
            if path == UNREADABLE:
                continue
            text = client.get(path, headers={"Accept": "text/html"}).text
            links = set(map(unescape, re.findall(r'<a\s[^>]*?href="(/[^"]*)"', text)))
            for link in links - seen:
                if (status := client.head(link).status_code) not in (200, 405):
                    dead.append(f"{path} links to {link}: {status}")
            seen |= links
    assert len(seen) > 50
    assert dead == []
