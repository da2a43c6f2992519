"""Pages on paper: one column, charts drawn for the width of the page, light colors, no controls and no navigation."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.browser.finished_home import FinishedHome, finished_home

PAPER = {"width": 718, "height": 1000}  # A4 within the default margins
CHART = (680, 240)
POINTS = 0.75  # per CSS pixel


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory, shapes: Path) -> Iterator[FinishedHome]:
    with finished_home(tmp_path_factory.mktemp("printed"), shapes) as found:
        yield found


@pytest.fixture(params=["light", "dark"])
def tab(browser: Browser, request: pytest.FixtureRequest) -> Iterator[Page]:
    context = browser.new_context(viewport={"width": 1440, "height": 900}, color_scheme=request.param)
    yield context.new_page()
    context.close()


def headings(pdf: Path) -> dict[str, float]:
    """The distance of the charts' headings from the top of the first page, in points."""
    text = subprocess.run(["pdftotext", "-bbox", "-l", "1", str(pdf), "-"], check=True, capture_output=True, text=True)
    found = re.findall(r'yMin="([\d.]+)"[^>]*>(Loss|Accuracy|Learning)<', text.stdout)
    return {name: float(top) for top, name in found}


def open_run(tab: Page, home: FinishedHome) -> None:
    tab.goto(home.server.url + home.pages["run"])
    expect(tab.locator("[data-chart=loss]")).to_have_attribute("data-points-val", "3")


def test_a_pdf_has_the_charts_at_the_width_of_the_paper(home: FinishedHome, tab: Page, tmp_path: Path) -> None:
    open_run(tab, home)
    tab.evaluate(
        """addEventListener("beforeprint", () => {
          const canvases = [...document.querySelectorAll("[data-chart] canvas")];
          window.printed = canvases.map((node) => [node.width, node.height]);
        })"""
    )
    before = tab.locator("[data-chart=loss] canvas").evaluate("node => node.width")
    file = tmp_path / "run.pdf"
    tab.pdf(path=file, format="A4", print_background=True)
    printed = tab.evaluate("window.printed")
    assert {tuple(size) for size in printed} == {CHART, (CHART[0], CHART[1] // 2)}
    expect(tab.locator("[data-chart=loss] canvas")).to_have_js_property("width", before)
    if shutil.which("pdftotext"):
        top = headings(file)
        assert list(top) == ["Loss", "Accuracy", "Learning"]
        assert top["Accuracy"] - top["Loss"] > CHART[1] * POINTS
        assert top["Learning"] - top["Accuracy"] > CHART[1] * POINTS


@pytest.mark.parametrize("width", [PAPER["width"], 1440])
def test_no_chart_lies_over_what_follows_it(home: FinishedHome, tab: Page, width: int) -> None:
    tab.set_viewport_size({"width": width, "height": 1000})
    open_run(tab, home)
    tab.emulate_media(media="print")
    figures = tab.locator("[data-chart]")
    expect(figures.first.locator("canvas")).to_have_js_property("width", CHART[0])
    # As a run with series of its layers has it: a closed group leaves no rule on the paper.
    tab.evaluate(
        "document.querySelector('[data-groups]').append(document.querySelector('[data-group-template]').content)"
    )
    expect(tab.locator(".chart-group")).to_have_count(1)
    expect(tab.locator(".chart-group")).to_be_hidden()
    bottom = 0.0
    for figure in figures.all():
        caption, canvas = figure.locator("figcaption").bounding_box(), figure.locator("canvas").bounding_box()
        assert caption is not None
        assert canvas is not None
        assert caption["y"] >= bottom
        assert canvas["y"] >= caption["y"] + caption["height"] - 1
        assert canvas["height"] > 100
        assert canvas["x"] + canvas["width"] <= width
        bottom = canvas["y"] + canvas["height"]
    assert tab.evaluate("document.documentElement.scrollWidth") <= width


def test_charts_are_printed_in_light_colors(home: FinishedHome, tab: Page) -> None:
    open_run(tab, home)
    tab.emulate_media(media="print")
    assert tab.evaluate("getComputedStyle(document.documentElement).backgroundColor") == "rgb(255, 255, 255)"
    canvas = tab.locator("[data-chart=loss] canvas")
    expect(canvas).to_have_js_property("width", CHART[0])
    grid = canvas.evaluate(
        """node => {
          const { data } = node.getContext("2d").getImageData(0, 0, node.width, node.height);
          const counts = new Map();
          for (let at = 0; at < data.length; at += 4)
            if (data[at + 3] === 255) {
              const color = `${data[at]},${data[at + 1]},${data[at + 2]}`;
              counts.set(color, (counts.get(color) ?? 0) + 1);
            }
          return [...counts].sort((a, b) => b[1] - a[1])[0][0].split(",").map(Number);
        }"""
    )
    assert min(grid) > 128  # the most frequent opaque color is that of the grid lines


CONTROLS = (
    "header.bar, .tabs, nav a:not([aria-current]), button, .button, .menu, input[type=checkbox], input[type=file]"
)


def test_pages_are_printed_without_controls_and_within_the_paper(home: FinishedHome, browser: Browser) -> None:
    context = browser.new_context(viewport=PAPER, color_scheme="dark")  # type: ignore[arg-type]
    page = context.new_page()
    page.emulate_media(media="print")
    for name, path in home.pages.items():
        page.goto(home.server.url + path)
        shown = page.locator(CONTROLS).evaluate_all(
            "nodes => nodes.filter((node) => node.checkVisibility()).map((node) => node.outerHTML.slice(0, 200))"
        )
        assert shown == [], name
        assert page.evaluate("document.documentElement.scrollWidth") <= PAPER["width"], name
        assert page.evaluate("getComputedStyle(document.body).color") == "rgb(26, 29, 31)", name
    context.close()
