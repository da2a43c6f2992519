"""The command palette, the keys of a run's page, and the menu in the header."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Page, expect

from tests.conftest import Server


@pytest.fixture
def web(server: Server) -> Server:
    server.start("web")
    return server


def test_pages_runs_and_actions_are_reached_by_the_keyboard(web: Server, page: Page) -> None:
    run_id = web.launch(name="tall oak")
    web.launch(name="small birch")
    page.goto(web.url)
    page.keyboard.press("Control+k")
    palette = page.get_by_role("dialog", name="Command palette")
    field = palette.get_by_role("combobox")
    expect(field).to_be_focused()
    expect(palette.get_by_role("option", name="tall oak")).to_be_visible()  # the latest runs, before anything is typed
    field.fill("oak")
    expect(palette.get_by_role("option")).to_have_count(1)
    expect(palette.get_by_role("option")).to_have_attribute("aria-selected", "true")
    field.press("Enter")
    page.wait_for_url(f"**/runs/{run_id}")

    page.keyboard.press("3")
    page.wait_for_url("**tab=errors")
    page.keyboard.press("s")
    expect(page.locator("[data-stop]")).to_be_focused()
    assert web.run(run_id)["status"] == "queued"  # a key alone stops nothing
    page.keyboard.press("Control+k")
    field.fill("stop this")
    field.press("Enter")
    expect(page.locator("[data-run-status]")).to_have_text("stopped")
    page.keyboard.press("s")
    expect(page.locator("[data-resume]")).to_be_focused()
    page.keyboard.press("c")
    page.wait_for_url(f"**/runs/new?from={run_id}")
    page.keyboard.press("Control+k")
    field.fill("nothing of that name")
    expect(palette).to_contain_text("Nothing matches")
    field.press("Escape")
    expect(palette).to_be_hidden()


def test_the_header_fits_a_small_phone_and_has_help_and_sign_out(web: Server, page: Page) -> None:
    page.set_viewport_size({"width": 320, "height": 640})
    page.goto(web.url)
    assert page.evaluate("document.documentElement.scrollWidth") <= 320
    page.get_by_label("Help and account").click()
    page.get_by_role("link", name="Tokens and sign-out").click()
    expect(page).to_have_url(re.compile("/tokens$"))
    page.wait_for_load_state("load")  # a click before the scripts have run does nothing
    page.get_by_label("Search pages and runs").click()
    expect(page.get_by_role("dialog", name="Command palette")).to_be_visible()
