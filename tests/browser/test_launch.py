"""The launch form: settings are found, those without effect are hidden, and mistakes are marked in words."""

from __future__ import annotations

import pytest
from playwright.sync_api import Page, expect

from tests.conftest import Server


@pytest.fixture
def form(server: Server, page: Page) -> Page:
    server.start("web")
    server.launch(name="first in the queue")
    page.goto(f"{server.url}/runs/new")
    page.locator("input[name=preset][value=baseline-cnn]").check(force=True)
    return page


def test_settings_are_searched_and_those_without_effect_are_hidden(form: Page) -> None:
    def row(name: str) -> str:
        return f"[data-setting='{name}']"

    expect(form.locator("[data-about=baseline-cnn]")).to_contain_text("Reported: training loss 0.015")
    expect(form.locator("[data-about=quick]")).to_be_hidden()
    search = form.get_by_label("Search settings")
    search.fill("weight decay")
    expect(form.locator(row("optimizer.weight_decay"))).to_be_visible()
    expect(form.locator(row("optimizer.momentum"))).to_be_hidden()
    expect(form.locator("[data-found]")).to_contain_text("settings")
    search.press("Escape")
    expect(form.locator(row("optimizer.weight_decay"))).to_be_hidden()  # its group is folded again

    form.locator("summary", has_text="Optimizer").click()
    form.locator("summary", has_text="Schedule").click()
    expect(form.locator(row("optimizer.rest_lr"))).to_be_hidden()
    expect(form.locator(row("schedule.milestones"))).to_be_hidden()
    form.locator("select[name='optimizer.name']").select_option("muon")
    form.locator("select[name='schedule.name']").select_option("multi_step")
    expect(form.locator(row("optimizer.rest_lr"))).to_be_visible()
    expect(form.locator(row("schedule.milestones"))).to_be_visible()
    form.locator("input[name='schedule.milestones']").fill("0.5")
    form.locator("select[name='schedule.name']").select_option("cosine")
    expect(form.locator(row("schedule.milestones"))).to_be_visible()  # what was typed does not vanish


def test_the_queue_is_told_and_a_mistake_is_marked_and_focused(form: Page) -> None:
    expect(form.locator("[data-when]")).to_contain_text("1 run first")
    form.locator("input[name='optimizer.lr']").fill("1e-4..1e-2")
    draw = form.get_by_label("Random samples")
    expect(draw).to_be_visible()
    below = "[data-setting='optimizer.lr'] + [data-draw]"
    expect(form.locator(below)).to_be_visible()
    expect(form.locator("[data-error-for='optimizer.lr']")).to_contain_text("random samples")
    panel = form.get_by_label("This run", exact=True)
    expect(panel).to_have_attribute("aria-busy", "true")  # it shows an earlier state of the settings
    draw.fill("3")
    expect(form.locator("[data-launch-button]")).to_have_text("Launch 3 runs")
    expect(panel).to_have_attribute("aria-busy", "false")
    expect(form.locator("[data-changes]")).to_contain_text("→ 1e-4..1e-2")

    form.locator("input[name='optimizer.lr']").fill("fast")
    expect(form.locator("[data-error-for='optimizer.lr']")).to_have_text("must be a number, such as 0.1 or 1e-3")
    form.locator("[data-launch-button]").click()
    expect(form.locator("[data-errors]")).to_contain_text("Fix the fields marked below")
    expect(form.locator("input[name='optimizer.lr']")).to_be_focused()
    expect(form.locator("input[name='optimizer.lr']")).to_have_value("fast")
