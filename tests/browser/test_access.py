"""Signing in, signing out and creating tokens, with and without JavaScript, on a phone and in both themes."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, expect

from app.auth.password import PasswordFile
from tests.conftest import Server
from tests.web.conftest import web_process

PASSWORD = "correct horse battery"


@pytest.fixture(scope="module")
def locked(tmp_path_factory: pytest.TempPathFactory, shapes: Path) -> Iterator[Server]:
    with web_process(tmp_path_factory.mktemp("locked"), shapes, TRACKSIDE_RECHECK_SECONDS="0.1") as server:
        PasswordFile(server.settings.access).set(PASSWORD, n=2**4)
        yield server


def sign_in(page: Page) -> None:
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Sign in").click()


def check(page: Page) -> None:
    """Assert that axe-core reports no serious violation and that the page has no horizontal overflow."""
    faults = [
        item["id"] for item in Axe().run(page).response["violations"] if item["impact"] in ("serious", "critical")
    ]
    assert faults == []
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_on_a_phone_in_both_themes(locked: Server, browser: Browser) -> None:
    for theme in ("light", "dark"):
        context = browser.new_context(viewport={"width": 390, "height": 844}, color_scheme=theme)
        page = context.new_page()
        page.goto(f"{locked.url}/tokens")
        check(page)
        page.get_by_label("Password").fill("wrong")
        page.keyboard.press("Enter")
        expect(page.get_by_role("alert")).to_have_text("Wrong password.")
        check(page)
        sign_in(page)
        page.wait_for_url("**/tokens")
        page.get_by_role("textbox", name="Name").fill(f"nightly-{theme}")
        page.get_by_role("button", name="Create token").click()
        expect(page.locator("[data-made]")).to_have_text(re.compile("^trackside_"))
        check(page)
        context.close()


def test_without_a_script(locked: Server, browser: Browser) -> None:
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(f"{locked.url}/runs/new?preset=baseline-cnn")
    assert page.url.startswith(f"{locked.url}/login?next=")
    sign_in(page)
    page.wait_for_url("**/runs/new?preset=baseline-cnn")
    page.goto(f"{locked.url}/system")
    page.get_by_role("link", name="Tokens and sign-out").click()
    page.get_by_role("textbox", name="Name").fill("weekly")
    page.get_by_role("button", name="Create token").click()
    token = page.locator("[data-made]").inner_text()
    headers = {"Authorization": f"Bearer {token}"}
    assert httpx.get(f"{locked.url}/api/runs", headers=headers).status_code == 200
    page.get_by_role("button", name="Revoke weekly").click()
    expect(page.locator("[data-token=weekly]")).to_have_count(0)
    assert httpx.get(f"{locked.url}/api/runs", headers=headers).status_code == 401
    page.get_by_role("button", name="Sign out", exact=True).click()
    page.wait_for_url("**/login")
    page.goto(locked.url)
    page.wait_for_url("**/login")
    context.close()


def test_an_open_page_says_that_it_was_signed_out(locked: Server, page: Page) -> None:
    page.goto(locked.url)
    sign_in(page)
    expect(page.get_by_role("heading", name="Runs")).to_be_visible()
    PasswordFile(locked.settings.access).sign_everyone_out()
    page.get_by_role("link", name="signed out").click()
    sign_in(page)
    page.wait_for_url(f"{locked.url}/")
