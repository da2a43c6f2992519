"""Compare and Results in a real browser, with runs whose events the test writes."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, ConsoleMessage, Page, expect

from app.runs.runs import Runs
from app.storage.db import Database
from app.supervisor import free_port
from tests.browser.conftest import zoom
from tests.conftest import Server
from tests.databases import settings_of
from tests.finished_runs import PER_EPOCH, drain, emit_epoch, finished_run
from trainer.rundir.events import EventWriter


@dataclass
class Home:
    """A web process and runs: two seeds without a significant difference, a worse run, and a running one."""

    server: Server
    runs: Runs
    ids: dict[str, str] = field(default_factory=dict)

    def compare(self, *names: str, **query: str) -> str:
        rest = "".join(f"&{name}={value}" for name, value in query.items())
        return f"{self.server.url}/compare?runs={','.join(self.ids[name] for name in names)}{rest}"


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory, shapes: Path) -> Iterator[Home]:
    folder = tmp_path_factory.mktemp("compared")
    (folder / "datasets").symlink_to(shapes)
    settings = settings_of(folder, port=free_port("127.0.0.1"))
    database = Database(settings.url)
    database.migrate()
    server = Server(folder, settings)
    found = Home(server, Runs(database, settings))
    found.ids = {
        "first": finished_run(found.runs, [0.2, 0.4, 0.5], wrong=range(40), name="first"),
        "twin": finished_run(
            found.runs, [0.2, 0.3, 0.48], wrong=range(10, 54), name="twin", overrides={"epochs": 3, "seed": 1}
        ),
        "worse": finished_run(
            found.runs, [0.1, 0.2, 0.3], wrong=range(140), name="worse", overrides={"epochs": 3, "optimizer.lr": 1e-4}
        ),
        "live": finished_run(found.runs, [0.1], end=False, name="live", overrides={"epochs": 5}),
    }
    server.start("web")
    yield found
    server.close()
    database.close()


def test_lines_lie_over_each_other_and_the_address_holds_the_view(home: Home, page: Page) -> None:
    page.goto(home.compare("first", "twin", "worse"))
    chart = page.locator("[data-chart=compare]")
    expect(chart).to_have_attribute("data-lines", "3")
    expect(chart).to_have_attribute("data-points", "9")
    for slot in range(3):
        assert drawn(page, slot) > 50, slot
    expect(page.locator("[data-run] [data-value]")).to_have_text(["50.0%", "48.0%", "30.0%"])
    chart.locator("summary").click()
    expect(chart.locator("tbody tr").first.locator("td")).to_have_text(["3.00", "50.0%", "48.0%", "30.0%"])
    expect(page.locator("[data-setting='optimizer.lr'] td")).to_have_text(["1e-3", "1e-3", "1e-4"])
    expect(page.locator("[data-outcome='Best validation, %'] td").first).to_contain_text("50.0 (43.1–56.9)")
    expect(page.locator("[data-groups] li")).to_contain_text("49.0 ± 1.4 (n = 2)")
    expect(page.locator("[data-cannot-tell] td").nth(1)).to_have_text("not significant")
    expect(page.locator("[data-cannot-tell] td").nth(3)).to_have_text("0.54")
    expect(page.locator("[data-significance]")).to_have_text("2 of 3 pairs of runs differ significantly.")
    labels = [node.get_attribute("data-label") for node in page.locator("[data-run]").all()]
    assert labels == ["lr 1e-3 · seed 0", "lr 1e-3 · seed 1", "lr 1e-4 · seed 0"]

    page.get_by_label("Another metric").select_option("train/acc")
    expect(page.locator("[data-series-title]")).to_have_text("train/acc")
    expect(chart).to_have_attribute("data-points", str(3 * 3 * PER_EPOCH))
    page.get_by_role("link", name="by time").click()
    assert page.url.endswith("&series=train/acc&x=time")

    page.get_by_role("link", name="Training loss").click()
    page.get_by_role("link", name="by step").click()
    expect(chart).to_have_attribute("data-points", str(3 * 3 * PER_EPOCH))
    assert page.url.endswith("&series=train/loss&x=step")
    page.reload()
    expect(chart).to_have_attribute("data-last-step", "30")
    expect(page.locator("a[data-series='train/loss']")).to_have_attribute("aria-current", "true")
    zoom(page, chart.locator(".u-over"))
    assert "zoom=" in page.url

    # Removing a run frees its color and does not change the rest of the view.
    page.get_by_role("link", name="Remove twin from the comparison").click()
    page.wait_for_url(re.compile(r"runs=\w+,,\w+&"))
    expect(page.locator("[data-run].slot-2")).to_have_attribute("data-name", "worse")
    expect(page.locator("[data-back-to-live]")).to_be_visible()
    expect(chart).to_have_attribute("data-lines", "2")
    assert "series=train/loss&x=step&zoom=" in page.url
    page.locator("[data-back-to-live]").click()
    page.get_by_label("Another run").select_option(home.ids["live"])
    page.get_by_role("button", name="Add", exact=True).click()
    expect(page.locator("[data-run].slot-3")).to_have_attribute("data-name", "live")
    expect(chart).to_have_attribute("data-lines", "3")


def test_parallel_coordinates_are_drawn_read_and_brushed(home: Home, page: Page) -> None:
    page.goto(home.compare("first", "worse"))
    expect(page.locator("[data-parallel]")).not_to_have_attribute("open", "")
    page.goto(home.compare("first", "twin", "worse", "live"))
    box = page.locator("[data-parallel]")
    names = box.locator(".axis .name").evaluate_all("nodes => nodes.map(node => node.firstChild.textContent)")
    assert names == ["Learning rate", "Epochs", "Seed", "Duration", "Validation loss", "Validation accuracy"]
    expect(box.locator(".axis").first).to_contain_text("log")
    expect(box.locator(".axis").first.locator(".tick")).to_have_text(["1e-4", "1e-3"])
    lines = box.locator(".run-line")
    expect(lines).to_have_count(4)
    paths = [line.get_attribute("d") or "" for line in lines.all()]
    assert [path.count("M") + path.count("L") for path in paths] == [6, 6, 6, 5]  # the running one has no duration
    assert paths[3].count("M") == 2
    strokes = lines.evaluate_all("nodes => nodes.map(node => getComputedStyle(node).stroke)")
    assert len(set(strokes)) == 4

    box.scroll_into_view_if_needed()
    x, y = lines.nth(2).evaluate(
        """node => {
          const { x, y } = node.getPointAtLength(30).matrixTransform(node.getScreenCTM());
          return [x, y];
        }"""
    )
    page.mouse.move(x, y)
    expect(box.locator("[data-pointed-run]")).to_have_text("worse")
    expect(page.locator("[data-run].slot-2")).to_have_attribute("data-lit", "")

    area = box.locator("[data-axis='optimizer.lr'] .brush-area").bounding_box()
    assert area is not None
    page.mouse.move(area["x"] + 12, area["y"] + 2)
    page.mouse.down()
    page.mouse.move(area["x"] + 12, area["y"] + 60, steps=3)
    page.mouse.up()
    expect(box.locator("[data-selected]")).to_have_text("3 of 4 runs in the selected ranges.")
    expect(box.locator(".run-line[data-dim]")).to_have_attribute("data-name", "worse")
    page.mouse.click(area["x"] + 12, area["y"] + 60)
    expect(box.locator(".run-line[data-dim]")).to_have_count(0)


def test_a_run_that_goes_on_is_followed(home: Home, page: Page) -> None:
    page.goto(home.compare("first", "live"))
    chart = page.locator("[data-chart=compare]")
    expect(chart).to_have_attribute("data-points", "4")
    page.evaluate("window.neverReloaded = true")
    best = page.locator("[data-outcome='Best validation, %'] td").nth(1)
    expect(best).to_contain_text("10.0")
    folder = home.runs.folder(home.ids["live"])
    events = EventWriter(folder, 1)
    emit_epoch(events, 1, 0.66, best=True)
    drain(home.runs, home.ids["live"])
    expect(chart).to_have_attribute("data-points", "5")
    expect(page.locator("[data-run].slot-1 [data-value]")).to_have_text("66.0%")
    expect(best).to_contain_text("66.0")
    events.emit("end", reason="finished", step=20, summary={"test/acc": 0.6}, error=None)
    events.close()
    drain(home.runs, home.ids["live"])
    expect(page.locator("[data-run].slot-1 [data-field=status]")).to_have_text("finished")
    assert page.evaluate("window.neverReloaded") is True


def test_without_a_run_there_is_a_way_to_pick(home: Home, page: Page) -> None:
    page.goto(f"{home.server.url}/compare")
    page.get_by_label("first").check()
    page.get_by_label("worse").check()
    page.get_by_role("button", name="Compare").click()
    expect(page.locator("[data-chart=compare]")).to_have_attribute("data-lines", "2")


def test_results_cover_what_would_be_chosen_on(home: Home, browser: Browser) -> None:
    context = browser.new_context(permissions=["clipboard-read", "clipboard-write"])
    page = context.new_page()
    page.goto(f"{home.server.url}/results")
    seeds = page.locator("[data-results] [data-seeds]")
    row = page.locator(f"[data-results] tr[data-run='{home.ids['first']}']")
    expect(row).to_contain_text("49.0 ± 1.4 (n = 2)")
    expect(row.locator("td.test")).to_have_text("49.0 (45.9–52.1)")
    seeds.locator("summary", has_text="2 seeds").click()
    hidden = seeds.get_by_text("47.0%, loss 2.500")
    expect(hidden).to_be_hidden()
    seeds.locator("summary", has_text="reveal").press("Enter")
    expect(hidden).to_be_visible()
    expect(page.locator("[data-reported] tr[data-preset=baseline-cnn]").first).to_contain_text("0.015")
    page.get_by_role("button", name="Copy as Markdown").click()
    expect(page.get_by_role("button", name="Copied")).to_be_visible()
    assert "| **cnn** baseline-cnn" in page.evaluate("navigator.clipboard.readText()")
    seeds.get_by_role("link", name="Compare them").click()
    expect(page.locator("[data-chart=compare]")).to_have_attribute("data-lines", "2")
    context.close()


@pytest.mark.parametrize(("width", "theme"), [(390, "dark"), (1440, "light")])
def test_the_pages_fit_their_window_and_are_open_to_all(home: Home, browser: Browser, width: int, theme: str) -> None:
    context = browser.new_context(viewport={"width": width, "height": 844}, color_scheme=theme)  # type: ignore[arg-type]
    page = context.new_page()
    said: list[str] = []

    def note(message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            said.append(f"{page.url}: {message.text}")

    axe = Axe()
    page.on("console", note)
    page.on("pageerror", lambda error: said.append(f"{page.url}: {error}"))
    compared = home.compare("first", "twin", "worse", "live")
    for address in (compared, home.compare("first"), f"{home.server.url}/compare", f"{home.server.url}/results"):
        page.goto(address)
        page.wait_for_load_state("load")
        assert page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0, f"{address} is too wide"
        for violation in axe.run(page).response["violations"]:
            targets = [node["target"] for node in violation["nodes"][:3]]
            said.append(f"{address}: {violation['id']}: {violation['help']} {targets}")
    context.close()
    assert said == []


def drawn(page: Page, slot: int) -> int:
    """Count the pixels of the chart that have the slot's color."""
    color = page.locator(f"[data-run].slot-{slot} .swatch path").evaluate("node => getComputedStyle(node).stroke")
    parts = [int(part) for part in re.findall(r"\d+", color)[:3]]
    count: int = page.locator("[data-chart=compare] canvas").evaluate(
        """(canvas, [r, g, b]) => {
          const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
          let count = 0;
          for (let i = 0; i < data.length; i += 4) {
            if (data[i] === r && data[i + 1] === g && data[i + 2] === b && data[i + 3] > 200) count += 1;
          }
          return count;
        }""",
        parts,
    )
    return count
