"""A search from the launch form: its page while it runs, its end, and what can be done with it."""

from __future__ import annotations

import re

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, expect

from tests.conftest import Server

SETTINGS = {"batch_size": "400", "epochs": "3", "checks": "off", "compile": "off", "model.widths": "6, 8, 8"}


def test_a_range_becomes_a_search(server: Server, page: Page) -> None:
    server.start("web", "worker")
    page.goto(f"{server.url}/runs/new")
    page.locator("input[name=preset][value=baseline-cnn]").check(force=True)
    page.locator("details[data-group]").evaluate_all("groups => groups.forEach((group) => { group.open = true; })")
    for name, value in SETTINGS.items():
        field = page.locator(f"[name='{name}']")
        (field.select_option if field.evaluate("field => field.tagName") == "SELECT" else field.fill)(value)
    page.locator("[name='optimizer.lr']").fill("1e-4..0.3")
    page.locator("[name='optimizer.weight_decay']").fill("0, 1e-3")
    expect(page.get_by_label("Random samples")).to_be_visible()
    page.get_by_label("Several values").select_option("search")
    page.get_by_label("Trials").fill("5")
    expect(page.get_by_label("Train further")).to_be_visible()
    page.locator("[data-launch-button]").click()
    page.wait_for_url("**/searches/*")

    page.evaluate("window.neverReloaded = true")
    expect(page.locator(".search-head .status")).to_have_text("running")
    expect(page.locator(".trials tbody tr").first).to_be_visible(timeout=60_000)
    expect(page.locator(".trial-plot svg").first).to_be_visible(timeout=60_000)
    expect(page.locator(".search-head .status")).to_have_text("finished", timeout=100_000)
    assert page.evaluate("window.neverReloaded") is True
    expect(page.locator(".trials tbody tr")).to_have_count(5)
    expect(page.locator(".trials tr.strong")).to_contain_text("tested")
    expect(page.locator(".figures")).to_contain_text("5 of 5")
    expect(page.locator("[data-rungs]")).to_contain_text("1 epoch")
    expect(page.locator("[data-rungs] tbody tr")).to_have_count(2)
    expect(page.locator("[data-parallel] .run-line")).to_have_count(5)
    expect(page.locator(".importance meter")).to_have_count(2)
    assert page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0
    assert Axe().run(page).response["violations"] == []
    page.set_viewport_size({"width": 390, "height": 844})
    assert page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0

    page.set_viewport_size({"width": 1440, "height": 900})
    page.locator(".trials tr.strong a").click()
    expect(page.locator("main")).to_contain_text(re.compile(r"trial \d of"))
    page.go_back()
    page.get_by_role("button", name="Narrow around the best").click()
    expect(page.locator("h1")).to_have_text(re.compile(", narrowed$"))
    page.on("dialog", lambda dialog: dialog.accept())
    page.get_by_role("button", name="Stop").click()
    expect(page.locator(".search-head .status")).to_have_text("stopped")
    page.goto(f"{server.url}/searches")
    expect(page.locator("[data-search]")).to_have_count(2)
    assert Axe().run(page).response["violations"] == []
