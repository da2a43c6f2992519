"""The pages of script runs in a real browser: live curves, media, files, comparison; wide enough, and open to all."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, expect

from tests.browser.script_home import HOSTILE, ScriptHome, script_home
from tests.browser.test_every_page import OVER

PAGES = (
    "/", "/?project=trains", "/runs/live", "/runs/ended", "/runs/ended?tab=media", "/runs/ended?tab=log",
    "/runs/ended?tab=setup", "/runs/live?find=loss", "/compare?runs=live,ended", "/compare?project=trains",
    "/results?project=trains",
)  # fmt: skip
WIDTHS = (320, 390, 701, 1101, 1440)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory, shapes: Path) -> Iterator[ScriptHome]:
    with script_home(tmp_path_factory.mktemp("scripts"), shapes) as found:
        yield found


def test_curves_and_losses_are_drawn_live(home: ScriptHome, page: Page) -> None:
    page.goto(f"{home.server.url}/runs/live")
    chart = page.locator("[data-chart='train/loss']")
    expect(chart).to_have_attribute("data-last-step", "99")
    first = home.live.spool.count(b'"metrics"')
    home.live.metrics(100, train__loss=0.125, new__series=1.0)
    home.live.metrics(101, train__loss=0.0625)
    assert home.live.post().status_code == 200
    expect(chart).to_have_attribute("data-last-step", "101")
    expect(page.locator("[data-fact='train']")).to_have_text("0.0625")
    expect(page.locator("[data-run-detail]")).to_contain_text("step 101")
    expect(page.locator("[data-group='new'] figure")).to_have_count(1)
    assert home.live.spool.count(b'"metrics"') == first + 2


def test_tabs_that_do_not_apply_are_absent(home: ScriptHome, page: Page) -> None:
    page.goto(f"{home.server.url}/runs/live")
    expect(page.locator(".tabs a")).to_have_text(["Curves", "Log", "Setup & files"])
    page.goto(f"{home.server.url}/runs/ended")
    expect(page.locator(".tabs a")).to_have_text(["Curves", "Media", "Log", "Setup & files"])
    for text in ("Clone", "Resume", "Predict", "Checkpoints", "Extend…", "Finish early"):
        expect(page.locator("main").get_by_text(text, exact=True)).to_have_count(0)


def test_a_group_stays_folded(home: ScriptHome, page: Page) -> None:
    page.goto(f"{home.server.url}/runs/live")
    group = page.locator("[data-group='train']")
    expect(group.locator("figure")).to_be_visible()
    group.locator("summary").first.click()
    expect(group.locator("figure")).to_be_hidden()
    # The browser tells of a folded group a moment after it is hidden.
    page.wait_for_function('Object.values(localStorage).some((text) => text.includes(\'"shut":["train"]\'))')
    page.reload()
    expect(group.locator("> summary")).to_be_visible()
    expect(group.locator("figure")).to_have_count(0)
    group.locator("> summary").click()
    expect(group.locator("figure")).to_be_visible()


def test_the_slider_chooses_the_step_of_images_and_texts(home: ScriptHome, page: Page) -> None:
    page.goto(f"{home.server.url}/runs/ended?tab=media")
    assert page.title() != "owned"
    images = page.locator("[data-key-name='samples']")
    expect(images.locator("img")).to_have_count(2)
    expect(images.locator("figcaption").first).to_have_text("sample 0 of step 30")
    images.locator("input").fill("0")
    expect(images.locator("[data-media-step-value]")).to_have_text("10")
    expect(images.locator("figcaption").first).to_have_text("sample 0 of step 10")
    shown = images.locator("img").first
    expect(shown).to_have_js_property("naturalWidth", 64)
    texts = page.locator("[data-kind='text']")
    texts.locator("input").fill("1")
    expect(texts.locator("pre")).to_have_text(f"{HOSTILE} 20")


def test_files_configuration_and_environment_are_shown(home: ScriptHome, page: Page) -> None:
    page.goto(f"{home.server.url}/runs/ended?tab=setup")
    rows = page.locator("[data-saved] tbody tr")
    expect(rows.nth(0)).to_contain_text("not received yet")
    with page.expect_download() as download:
        rows.nth(1).get_by_role("link").click()
    assert download.value.suggested_filename == "weights.bin"
    assert Path(download.value.path()).read_bytes() == b"weights"
    expect(page.locator("[data-config]")).to_contain_text("model.widths")
    expect(page.locator("[data-config]")).to_contain_text(HOSTILE)
    expect(page.locator("pre").filter(has_text="python train.py --name 'two words'")).to_be_visible()
    page.locator("[data-diff] summary").click()
    expect(page.locator("[data-diff] pre")).to_contain_text("+new")
    page.locator("[data-packages] summary").click()
    expect(page.locator("[data-packages] pre")).to_contain_text("torch==2.9.0")


def test_a_run_is_renamed_and_moved_to_another_project(home: ScriptHome, page: Page) -> None:
    page.goto(f"{home.server.url}/runs/live?tab=setup")
    page.get_by_label("Name", exact=True).fill("renamed")
    page.get_by_label("Tags").fill("one, two")
    page.get_by_role("button", name="Save").click()
    expect(page.locator("h1")).to_have_text("renamed")
    expect(page.locator("[data-tags]")).to_contain_text("one, two")
    page.goto(home.server.url)
    expect(page.locator("tr[data-run='live'] .name")).to_have_text("renamed")
    page.get_by_label("Project").select_option("trains")
    expect(page).to_have_url(f"{home.server.url}/?project=trains")


def test_the_list_shows_losses_and_follows_them(home: ScriptHome, page: Page) -> None:
    page.goto(home.server.url)
    row = page.locator("tr[data-run='live']")
    home.live.metrics(200, train__loss=0.5)
    assert home.live.post().status_code == 200
    expect(row.locator("[data-field='losses']")).to_contain_text("0.5")
    expect(row.locator("[data-field='time']")).to_have_text("step 200")
    expect(page.locator("tr[data-run='ended'] .why")).to_have_text("bad value")


def test_scripts_are_compared_by_their_losses(home: ScriptHome, page: Page) -> None:
    page.goto(f"{home.server.url}/compare?runs=live,ended")
    expect(page.locator("[data-series-title]")).to_have_text("val/loss")
    page.locator("a[data-series='loss']").click()
    expect(page.locator("[data-chart]")).to_have_attribute("data-last-step", "59")
    expect(page.locator("[data-setting='lr'] td")).to_have_text(["0.1", "0.2"])


def test_stop_asks_the_script(home: ScriptHome, page: Page) -> None:
    page.goto(f"{home.server.url}/runs/live")
    page.get_by_role("button", name="Stop").click()
    expect(page.locator("[data-run-status]")).to_have_text("stopping")
    home.live.metrics(300, train__loss=0.5)
    assert home.live.post().json()["stop"] is True
    home.live.end("stopped")
    assert home.live.post().status_code == 200
    expect(page.locator("[data-run-status]")).to_have_text("stopped")


@pytest.mark.parametrize("path", PAGES)
def test_every_page_is_wide_enough_and_open_to_all(home: ScriptHome, page: Page, path: str) -> None:
    faults: list[str] = []
    page.on("console", lambda m: faults.append(m.text) if m.type in ("error", "warning") else None)
    page.goto(home.server.url + path)
    assert page.title() != "owned"
    for width in WIDTHS:
        page.set_viewport_size({"width": width, "height": 900})
        if (over := page.evaluate(OVER)) > 0:
            faults.append(f"at {width}: {over} px too wide")
    for theme, width in (("light", 1440), ("dark", 390)):
        page.emulate_media(color_scheme="dark" if theme == "dark" else "light")
        page.set_viewport_size({"width": width, "height": 900})
        for violation in Axe().run(page).response["violations"]:
            nodes = [node["target"] for node in violation["nodes"][:3]]
            faults.append(f"{theme} {width}: {violation['id']}: {violation['help']} {nodes}")
    assert faults == []
