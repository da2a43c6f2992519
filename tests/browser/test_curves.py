"""The Curves tab: what is drawn for runs whose events the test writes, and what can be done with it."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import orjson
import pytest
from playwright.sync_api import Browser, Locator, Page, expect
from sqlmodel import select

from app.runs.launching import Launcher
from app.runs.requests import NewRun
from app.runs.runs import Runs
from app.storage.db import Database
from app.storage.tables import Run, Status, now
from app.supervisor import free_port
from tests.browser.conftest import downloaded
from tests.conftest import Server, wait_for
from tests.databases import settings_of
from tests.finished_runs import PER_EPOCH, drain
from trainer.rundir.folder import JobDir, RunDir

BEGAN = 1_700_000_000.0
PAUSE = 3600.0
SPIKE = 5984.0
STEPS = 80
LONG = 5000

# The number of pixels right of a chart's plot, in the gutter, that are not transparent.
IN_GUTTER = """figure => {
  const canvas = figure.querySelector("canvas"), over = figure.querySelector(".u-over");
  const ratio = canvas.width / canvas.clientWidth, left = Math.ceil((over.offsetLeft + over.offsetWidth) * ratio) + 4;
  const { data } = canvas.getContext("2d").getImageData(left, 0, canvas.width - left, canvas.height);
  return data.filter((value, index) => index % 4 === 3 && value > 128).length;
}"""


@dataclass
class Home:
    server: Server
    runs: Runs
    ids: dict[str, str] = field(default_factory=dict)

    def url(self, name: str, query: str = "") -> str:
        return f"{self.server.url}/runs/{self.ids[name]}{query}"

    def create(self, name: str, epochs: int) -> None:
        body = {"dataset": "shapes100", "preset": "baseline-cnn", "name": name, "overrides": {"epochs": epochs}}
        run_id = Launcher(self.runs.database, self.runs.settings).create(NewRun.model_validate(body)).id
        with self.runs.database.write() as session:
            row = session.exec(select(Run).where(Run.id == run_id)).one()
            row.status, row.claim, row.attempt, row.started_at = Status.RUNNING, 1, 1, now()
        self.ids[name] = run_id

    def emit(self, name: str, attempt: int, events: list[dict[str, Any]]) -> None:
        folder = self.runs.folder(self.ids[name])
        path = JobDir(folder).events(attempt)
        path.parent.mkdir(exist_ok=True)
        with path.open("ab") as file:
            file.writelines(orjson.dumps(event) + b"\n" for event in events)
        for event in events:
            if event["e"] == "checkpoint":
                RunDir(folder).weights(event["step"]).write_bytes(b"")
        with self.runs.database.write() as session:
            session.exec(select(Run).where(Run.id == self.ids[name])).one().attempt = attempt
        drain(self.runs, self.ids[name])


def start(time: float, step: int, total: int) -> dict[str, Any]:
    return {
        "e": "start", "t": time, "attempt": 1, "from_step": step, "total_steps": total, "steps_per_epoch": PER_EPOCH,
        "epochs": total // PER_EPOCH, "device": "cpu", "val_count": 200,
    }  # fmt: skip


def training(first: int, last: int, shift: float = 0.0) -> list[dict[str, Any]]:
    """The events of the steps `first` to `last`, one second each; with a spike of the loss at step 10."""
    events: list[dict[str, Any]] = [{"e": "phase", "t": BEGAN + shift, "phase": "training"}]
    for step in range(first, last + 1):
        time = BEGAN + shift + step
        loss = SPIKE if step == 10 else 4.6 - step / 40 + 0.1 * (step % 3)
        values = {"train/loss": loss, "train/acc": 0.1 + step / 200, "lr": 1e-3, "grad/norm": 2.0 + step % 5}
        if step % PER_EPOCH == 0:
            values |= {"val/loss": 4.7 - step / 40, "val/acc": 0.1 + step / 250, "val/acc5": 0.5, "val/flips": 0.3}
        events.append({"e": "metrics", "t": time, "step": step, "v": values})
        if step % PER_EPOCH == 0:
            epoch = {"e": "epoch", "t": time, "step": step, "epoch": step // PER_EPOCH}
            saved = {"sha256": "0", "size": 1, "metrics": {"val/acc": values["val/acc"]}, "best": True}
            events += [epoch, {**epoch, **saved, "e": "checkpoint"}]
    return events


def by_chance(shift: float) -> list[dict[str, Any]]:
    """The events of a run that learns nothing, in two epochs."""
    events: list[dict[str, Any]] = []
    for step in (10, 20):
        values = {
            "train/loss": 4.8 - step / 100,
            "val/loss": math.log(100) + shift,
            "val/acc": 0.0003 + shift + step / 2000,
        }
        values["train/acc"] = step / 500
        at = {"t": BEGAN + step, "step": step}
        epoch = {**at, "e": "epoch", "epoch": step // 10}
        saved = {"sha256": "0", "size": 1, "metrics": {"val/acc": values["val/acc"]}, "best": step == 20}
        events += [{**at, "e": "metrics", "v": values}, epoch, {**epoch, **saved, "e": "checkpoint"}]
    return events


def end(step: int, time: float) -> dict[str, Any]:
    return {"e": "end", "t": time, "reason": "finished", "step": step, "summary": {}, "error": None}


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory, shapes: Path) -> Iterator[Home]:
    folder = tmp_path_factory.mktemp("curves")
    (folder / "datasets").symlink_to(shapes)
    settings = settings_of(folder, port=free_port("127.0.0.1"))
    database = Database(settings.url)
    database.migrate()
    found = Home(Server(folder, settings), Runs(database, settings))
    found.create("paused", STEPS // PER_EPOCH)
    finding = {
        "e": "finding",
        "t": BEGAN,
        "step": 5,
        "kind": "lr_too_high",
        "level": "fail",
        "message": "too high " * 20,
    }
    found.emit(
        "paused", 1, [start(BEGAN, 0, STEPS), finding, {**finding, "kind": "dead", "level": "warn"}, *training(1, 40)]
    )
    rest = training(41, STEPS, PAUSE)
    found.emit("paused", 2, [start(BEGAN + PAUSE + 40, 40, STEPS), *rest, end(STEPS, BEGAN + PAUSE + STEPS)])
    found.create("long", 1)
    points = [
        {"e": "metrics", "t": BEGAN + step, "step": step, "v": {"train/loss": 2 + (step % 7) / 7}}
        for step in range(1, LONG + 1)
    ]
    found.emit("long", 1, [start(BEGAN, 0, LONG), *points, end(LONG, BEGAN + LONG)])
    for name, shift in (("close", 0.0), ("closer", 1e-4)):  # the best values are nearly those of chance
        found.create(name, 2)
        found.emit(name, 1, [start(BEGAN, 0, 20), *by_chance(shift), end(20, BEGAN + 20)])
    found.create("live", 10)
    found.emit("live", 1, [start(BEGAN, 0, 100), *training(1, 20)])
    found.server.start("web")
    yield found
    found.server.close()
    database.close()


def chart(page: Page, name: str) -> Locator:
    return page.locator(f"[data-chart='{name}']")


def span(figure: Locator, axis: str) -> tuple[float, float]:
    low, high = (figure.get_attribute(f"data-{axis}-range") or "").split("..")
    return float(low), float(high)


def test_the_series_are_fetched_once(home: Home, page: Page) -> None:
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url) if "/metrics?" in request.url else None)
    opened(page, home.url("paused"))
    expect(chart(page, "lr")).to_have_attribute("data-points-train", str(STEPS))
    assert len(asked) == 1


def opened(page: Page, address: str, points: int = STEPS) -> Locator:
    page.goto(address)
    loss = chart(page, "loss")
    expect(loss).to_have_attribute("data-points-train", str(points))
    return loss


def point_at(page: Page, figure: Locator, x: float, y: float) -> None:
    """Move the pointer to a place in the plot, given as shares of its width and height."""
    box = figure.locator(".u-over").bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + x * box["width"], box["y"] + y * box["height"], steps=3)


def test_scales_fit_the_data_and_their_toggles_are_in_the_address(home: Home, page: Page) -> None:
    loss = opened(page, home.url("paused"))
    accuracy = chart(page, "accuracy")
    low, high = span(loss, "y")
    assert 0 <= low < 2.6
    assert 4.7 <= high <= 5
    expect(loss.locator("[data-note]")).to_have_text("▲ 1 above the axis, at most 5,980")
    assert span(accuracy, "y") == (0, 0.5)
    assert span(loss, "x") == (0, 8)
    assert loss.evaluate(IN_GUTTER) > 60  # the best value and its epoch

    loss.get_by_role("button", name="log").click()
    expect(loss.locator("[data-note]")).to_be_hidden()
    assert span(loss, "y") == (2, 6000)
    accuracy.get_by_role("button", name="0–100%").click()
    expect(accuracy).to_have_attribute("data-y-range", "0..1")
    expect(page).to_have_url(re.compile("log=loss&whole=accuracy"))
    page.reload()
    expect(loss).to_have_attribute("data-y-range", "2..6000")
    expect(loss.get_by_role("button", name="log")).to_have_attribute("aria-pressed", "true")
    opened(page, home.url("paused"))  # the browser remembers it
    expect(accuracy).to_have_attribute("data-y-range", "0..1")


def test_the_x_axis_is_steps_epochs_or_time_and_keeps_the_part_that_is_zoomed_to(home: Home, page: Page) -> None:
    loss = opened(page, home.url("paused"))
    axis = page.get_by_label("X axis")
    axis.select_option("step")
    expect(loss).to_have_attribute("data-x-range", "0..80")
    axis.select_option("wall")
    assert span(loss, "x") == (BEGAN + 1, BEGAN + PAUSE + STEPS)
    axis.select_option("relative")
    expect(loss).to_have_attribute("data-x-range", "0..80")  # without the pause
    expect(page).to_have_url(re.compile("x=relative"))

    reset = page.get_by_role("button", name="Reset zoom")
    expect(reset).to_be_hidden()
    point_at(page, loss, 0.25, 0.2)
    page.mouse.down()
    point_at(page, loss, 0.75, 0.8)
    page.mouse.up()
    expect(reset).to_be_visible()
    assert span(loss, "x") == pytest.approx((20, 60), abs=0.5)
    assert span(chart(page, "accuracy"), "x") == span(loss, "x")
    low, high = span(loss, "y")
    assert 2.5 < low < high < 4.7
    axis.select_option("epoch")
    expect(page).to_have_url(re.compile(r"x=epoch&zoom=[\d.]+&y=loss~"))
    assert span(loss, "x") == pytest.approx((2, 6), abs=0.05)
    address = page.url
    page.reload()
    expect(loss).to_have_attribute("data-points-train", str(STEPS))
    assert span(loss, "x") == pytest.approx((2, 6), abs=0.05)
    assert span(loss, "y") == pytest.approx((low, high), rel=1e-6)
    assert page.url == address
    reset.click()
    expect(loss).to_have_attribute("data-x-range", "0..8")
    expect(page).not_to_have_url(re.compile("zoom"))


def test_the_pointer_reads_all_charts_and_the_keyboard_does_so_too(home: Home, page: Page) -> None:
    loss = opened(page, home.url("paused"))
    accuracy = chart(page, "accuracy")
    point_at(page, loss, 0.5, 0.5)
    tip = loss.locator(".chart-tip")
    expect(tip).to_be_visible()
    names = ["smoothed", "train", "validation", "step", "epoch", "time", "checkpoint", "resumed"]
    expect(tip.locator("dt")).to_have_text([*names[:6], re.compile("checkpoint"), "resumed"])
    values = dict(zip(names, tip.locator("dd").all_inner_texts(), strict=True))
    assert (values["train"], values["step"], values["epoch"]) == ("3.70", "40", "4")
    assert values["resumed"] == "attempt 2, from step 40"
    assert values["time"].endswith("after 40 s")
    assert values["checkpoint"] == "step 40"
    expect(accuracy.locator(".chart-tip")).to_be_hidden()
    expect(accuracy.locator("[data-key=train]")).to_have_text(re.compile(r"^2\d\.\d%$"))  # at the crosshair, smoothed
    across = [figure.locator(".u-cursor-x").bounding_box() for figure in (loss, accuracy)]
    plots = [figure.locator(".u-over").bounding_box() for figure in (loss, accuracy)]
    offsets = [line["x"] - plot["x"] for line, plot in zip(across, plots, strict=True) if line and plot]
    assert offsets[0] == pytest.approx(offsets[1], abs=2)

    page.mouse.move(5, 5)
    expect(tip).to_be_hidden()
    loss.locator("[data-plot]").focus()
    page.keyboard.press("End")
    expect(tip).to_contain_text("step80")
    page.keyboard.press("Shift+ArrowLeft")
    expect(tip).to_contain_text("step70")
    page.keyboard.press("+")
    expect(page.get_by_role("button", name="Reset zoom")).to_be_visible()
    assert span(loss, "x")[0] > 3
    page.keyboard.press("0")
    expect(loss).to_have_attribute("data-x-range", "0..8")
    loss.get_by_role("button", name="Fullscreen").press("Enter")
    dialog = page.get_by_role("dialog")
    expect(dialog.locator("[data-chart=loss]")).to_be_visible()
    wait_for(lambda: (loss.locator("canvas").bounding_box() or {"width": 0})["width"] > 1200, what="a large canvas")
    page.keyboard.press("Escape")
    expect(dialog).to_be_hidden()
    expect(page.locator("[data-curves] > figure").first).to_have_attribute("data-chart", "loss")
    expect(loss.get_by_role("button", name="Fullscreen")).to_be_focused()


def test_smoothing_is_of_all_points_and_remembered(home: Home, page: Page) -> None:
    loss = opened(page, home.url("paused"))
    expect(loss).to_have_attribute("data-points-smoothed", str(STEPS))
    loss.locator("summary", has_text="Table").click()
    spike = loss.locator("tbody tr", has=page.locator("td:text-is('10')"))
    expect(spike.locator("td")).to_have_text(["10", "1.00", "5984.0", "", "4.450"])  # no average across the spike
    slider = page.get_by_label("Smoothing")
    slider.fill("0")
    expect(loss).to_have_attribute("data-points-smoothed", "0")
    expect(page).to_have_url(re.compile("smooth=0"))
    long = page.locator("[data-chart=loss]")
    page.goto(home.url("long"))
    expect(long).to_have_attribute("data-points-smoothed", "0")
    wait_for(lambda: int(long.get_attribute("data-points-train") or 0) > 1000, what="the points")
    with page.expect_response(lambda answer: "smoothing=0.8" in answer.url):
        slider.fill("0.8")
    drawn = int(long.get_attribute("data-points-train") or 0)
    assert drawn < LONG
    expect(long).to_have_attribute("data-points-smoothed", str(drawn))


def test_charts_are_grouped_pinned_moved_hidden_and_downloaded(home: Home, page: Page, tmp_path: Path) -> None:
    loss = opened(page, home.url("paused"))
    order = page.locator("[data-curves] > figure:visible")

    def act(name: str, action: str) -> None:
        chart(page, name).get_by_label("More").click()
        chart(page, name).get_by_role("button", name=action).click()

    page.locator("summary", has_text="val · 2 charts").click()
    expect(chart(page, "val/acc5")).to_have_attribute("data-points-train", "8")
    act("val/acc5", "Pin to the top")
    expect(order.first).to_have_attribute("data-chart", "val/acc5")
    act("accuracy", "Move earlier")
    expect(order.nth(1)).to_have_attribute("data-chart", "accuracy")
    act("loss", "Hide")
    expect(loss).to_be_hidden()
    expect(page).to_have_url(re.compile("hide=loss"))
    address = page.url
    page.evaluate("localStorage.clear()")
    page.goto("about:blank")
    page.goto(address)  # a link shows the same
    expect(order.first).to_have_attribute("data-chart", "val/acc5")
    expect(order.nth(1)).to_have_attribute("data-chart", "accuracy")
    page.locator("summary", has_text="1 hidden").click()
    page.get_by_role("button", name="Show Loss").click()
    expect(loss).to_be_visible()
    expect(loss).to_have_attribute("data-points-val", "8")

    def saved(action: str) -> bytes:
        return downloaded(page, loss, action, tmp_path)

    assert saved("png").startswith(b"\x89PNG")
    picture = ElementTree.fromstring(saved("svg"))
    lines = picture.findall(".//{*}g[@clip-path]/{*}path")
    assert [line.get("d", "").count("L") for line in lines] == [79, 77, 7]  # the average has a gap at the spike
    assert "epoch" in [node.text for node in picture.findall(".//{*}text")]
    rows = saved("csv").decode().splitlines()
    assert len(rows) == 1 + STEPS + 8
    assert {row.split(",")[0] for row in rows[1:]} == {"train/loss", "val/loss"}


def gutter_of(svg: bytes) -> tuple[dict[str, float], int]:
    """The texts right of a chart's plot with their y, and how many lines lead to them, out of its SVG."""
    picture = ElementTree.fromstring(svg)
    plot = picture.find(".//{*}clipPath/{*}rect")
    assert plot is not None
    edge = float(plot.get("x", "")) + float(plot.get("width", ""))
    texts = {
        node.text or "": float(node.get("y", ""))
        for node in picture.findall("{*}text")
        if node.get("text-anchor") == "start" and float(node.get("x", "")) >= edge
    }
    leaders = [path for path in picture.findall("{*}path") if path.get("d", "").startswith(f"M{edge:g} ")]
    return texts, len(leaders)


def test_the_labels_beside_a_chart_never_overlap(home: Home, page: Page, tmp_path: Path) -> None:
    page.goto(home.url("close"))
    for name in ("loss", "accuracy"):
        figure = chart(page, name)
        expect(figure).to_have_attribute("data-points-val", "2")
        texts, leaders = gutter_of(downloaded(page, figure, "svg", tmp_path))
        best = next(text for text in texts if text not in ("chance", "epoch 2"))
        assert texts["epoch 2"] == pytest.approx(texts[best] + 14)  # nothing comes between the value and its epoch
        assert abs(texts["chance"] - texts[best]) >= 14
        assert abs(texts["chance"] - texts["epoch 2"]) >= 14
        assert leaders
    page.goto(f"{home.server.url}/compare?runs={home.ids['close']},{home.ids['closer']}")
    figure = chart(page, "compare")
    expect(figure).to_have_attribute("data-points", "4")
    texts, leaders = gutter_of(downloaded(page, figure, "svg", tmp_path))
    low, high = sorted(texts.values())
    assert high - low >= 14
    assert leaders == 2


def test_a_live_axis_grows_with_what_was_reached(home: Home, page: Page) -> None:
    loss = opened(page, home.url("live"), 20)
    assert span(loss, "x") == pytest.approx((0, 2.2))
    home.emit("live", 1, training(21, 22))
    expect(loss).to_have_attribute("data-points-train", "22")
    assert span(loss, "x") == pytest.approx((0, 2.2))  # it stays until the line arrives at its end
    home.emit("live", 1, training(23, 40))
    expect(loss).to_have_attribute("data-points-train", "40")
    assert span(loss, "x") == pytest.approx((0, 4.4))
    point_at(page, loss, 0.3, 0.5)
    page.mouse.down()
    point_at(page, loss, 0.6, 0.52)
    page.mouse.up()
    zoomed = span(loss, "x")
    assert zoomed[1] < 4
    home.emit("live", 1, [*training(41, 60), {"e": "metrics", "t": BEGAN + 61, "step": 61, "v": {"memory": 3.0}}])
    expect(loss).to_have_attribute("data-points-train", "60")
    assert span(loss, "x") == zoomed
    expect(page.locator("summary", has_text="other · 1 chart")).to_be_visible()


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_a_curve_is_on_the_first_screen_of_a_phone(home: Home, browser: Browser, theme: str) -> None:
    context = browser.new_context(viewport={"width": 390, "height": 844}, color_scheme=theme)  # type: ignore[arg-type]
    page = context.new_page()
    loss = opened(page, home.url("paused"))
    expect(page.locator("[data-finding]")).to_have_count(2)
    plot = loss.locator("[data-plot]").bounding_box()
    bar = page.locator(".bar nav").bounding_box()
    assert plot is not None
    assert bar is not None
    assert plot["y"] + plot["height"] <= bar["y"]
    assert page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0
    context.close()
