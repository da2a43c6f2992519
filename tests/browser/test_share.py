"""Reports and share links in a real browser: written, drawn live, and looked at by somebody without a password."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, Response, expect

from app.auth.password import PasswordFile
from app.runs.runs import Runs
from app.storage.db import Database
from app.supervisor import free_port
from tests.conftest import Server
from tests.databases import settings_of
from tests.finished_runs import drain, emit_epoch, finished_run
from tests.web.locked import CHEAP, PASSWORD
from trainer.rundir.events import EventWriter


class Home:
    def __init__(self, folder: Path, shapes: Path) -> None:
        (folder / "datasets").symlink_to(shapes)
        settings = settings_of(folder, port=free_port("127.0.0.1"))
        PasswordFile(settings.access).set(PASSWORD, n=CHEAP)
        self.database = Database(settings.url)
        self.database.migrate()
        self.server = Server(folder, settings)
        self.runs = Runs(self.database, settings)
        self.first = finished_run(self.runs, [0.2, 0.4, 0.5], wrong=range(40), name="first")
        self.live = finished_run(self.runs, [0.1], end=False, name="live", overrides={"epochs": 5})
        self.server.start("web")

    def emit(self, epoch: int, acc: float) -> None:
        events = EventWriter(self.runs.folder(self.live), 1)
        emit_epoch(events, epoch, acc, best=True)
        events.close()
        drain(self.runs, self.live)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory, shapes: Path) -> Iterator[Home]:
    found = Home(tmp_path_factory.mktemp("shared"), shapes)
    yield found
    found.server.close()
    found.database.close()


@pytest.fixture
def author(home: Home, browser: Browser) -> Iterator[Page]:
    context = browser.new_context()
    page = context.new_page()
    page.goto(f"{home.server.url}/login")
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_url(f"{home.server.url}/")
    yield page
    context.close()


@pytest.fixture
def visitor(browser: Browser) -> Iterator[Page]:
    context = browser.new_context()
    yield context.new_page()
    context.close()


def look(page: Page, refused: list[str]) -> None:
    assert Axe().run(page).response["violations"] == []
    assert refused == []


def refusals(page: Page) -> list[str]:
    """The requests of the page that fail, as they come."""
    found: list[str] = []

    def note(response: Response) -> None:
        if response.status >= 400:
            found.append(f"{response.status} {response.url}")

    page.on("response", note)
    page.on("pageerror", lambda error: found.append(str(error)))
    return found


def made_link(author: Page) -> str:
    return author.locator("[data-made]").inner_text().strip()


def test_a_report_is_written_and_shared(home: Home, author: Page, visitor: Page) -> None:
    author.goto(f"{home.server.url}/compare?runs={home.first},{home.live}")
    author.get_by_role("link", name="Write a report").click()
    text = author.get_by_label("Text (Markdown)")
    expect(author.locator("[data-preview] [data-chart]")).to_have_attribute("data-lines", "2")
    text.fill("```chart\nseries: val/acc\n```")
    expect(author.locator("[data-fault]")).to_contain_text("line 1: needs either runs or find")
    chart = f"```chart\ntitle: Both\nruns: {home.first}, {home.live}\nseries: val/acc\n```"
    text.fill(f"What *came* of it.\n\n{chart}\n\n```runs\nfind: live\ncolumns: status, epoch\n```")
    expect(author.locator("[data-fault]")).to_be_hidden()
    expect(author.locator("[data-preview] em")).to_have_text("came")
    author.get_by_label("Title", exact=True).fill("Two runs")
    author.get_by_role("button", name="Save report").click()
    expect(author.get_by_role("heading", name="Two runs")).to_be_visible()
    expect(author.locator("[data-chart]")).to_have_attribute("data-lines", "2")
    author.get_by_role("link", name="Share").click()
    author.get_by_role("button", name="Create link").click()
    link = made_link(author)

    refused = refusals(visitor)
    visitor.goto(link)
    expect(visitor.get_by_role("heading", name="Two runs")).to_be_visible()
    expect(visitor.locator("[data-chart]")).to_have_attribute("data-lines", "2")
    expect(visitor.get_by_role("navigation")).to_have_count(0)
    expect(visitor.locator("main a")).to_have_count(0)
    points = int(visitor.locator("[data-chart]").get_attribute("data-points") or 0)
    home.emit(1, 0.35)
    expect(visitor.locator("[data-chart]")).to_have_attribute("data-points", str(points + 1))
    expect(visitor.locator(".legend .value").last).to_have_text("35.0%")
    look(visitor, refused)

    author.goto(f"{home.server.url}/shares")
    author.on("dialog", lambda dialog: dialog.accept())
    author.get_by_role("button", name="Revoke").click()
    expect(author.get_by_text("There are no links.")).to_be_visible()
    answer = visitor.goto(link)
    assert answer is not None
    assert answer.status == 404


def test_a_run_and_a_comparison_are_shared(home: Home, author: Page, visitor: Page) -> None:
    refused = refusals(visitor)
    author.goto(f"{home.server.url}/runs/{home.first}")
    author.locator("[data-more] summary").click()
    author.get_by_role("link", name="Share").click()
    author.get_by_role("button", name="Create link").click()
    visitor.goto(made_link(author))
    expect(visitor.get_by_role("heading", name="first")).to_be_visible()
    expect(visitor.locator("[data-chart]").first).to_have_attribute("data-lines", "2")
    look(visitor, refused)
    author.goto(f"{home.server.url}/compare?runs={home.first},{home.live}")
    author.get_by_role("link", name="Share").click()
    author.get_by_role("button", name="Create link").click()
    visitor.goto(made_link(author))
    expect(visitor.get_by_role("heading", name="Comparison of 2 runs")).to_be_visible()
    expect(visitor.locator("[data-chart]")).to_have_count(3)
    expect(visitor.locator("[data-differences]")).to_contain_text("epochs 3")
    look(visitor, refused)
    visitor.keyboard.press("Control+k")  # the palette belongs to those who are signed in
    expect(visitor.locator("dialog")).to_have_count(0)
