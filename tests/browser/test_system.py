"""The System page: charts of the devices with axes, values and a range that the address has, and the workers."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from xml.etree import ElementTree

import pytest
from playwright.sync_api import Locator, Page, expect
from sqlmodel import Session

from app.host.identity import host_name
from app.host.probes import Reading
from app.host.samples import MINUTE
from app.host.telemetry import Recorder
from app.runs.runs import Runs
from app.storage.db import Database
from app.storage.tables import DeviceSample, Worker
from app.supervisor import free_port
from tests.browser.conftest import downloaded
from tests.conftest import Server, wait_for
from tests.databases import settings_of
from tests.finished_runs import finished_run

GIB = 2**30
PEAK = 0.84


class Told:
    """A probe that reads what the test says."""

    reading = Reading(utilisation=0.5, memory=2 * GIB, memory_total=8 * GIB, temperature=61.0)

    def read(self) -> Reading:
        return self.reading


@pytest.fixture
def home(tmp_path: Path, shapes: Path) -> Iterator[tuple[Server, Database, str]]:
    """A web process, its database, and the host of a GPU that was sampled for an hour, with a pause and a peak."""
    (tmp_path / "datasets").symlink_to(shapes)
    settings = settings_of(tmp_path, port=free_port("127.0.0.1"))
    database = Database(settings.url)
    database.migrate()
    host, now = host_name(), time.time()
    seen_at = datetime.now(UTC) + timedelta(hours=1)  # however slowly the test runs
    run = finished_run(Runs(database, settings), [0.1], end=False, name="night run")
    with database.write() as session:
        for age in (*range(1800, 900, -5), *range(600, 0, -2)):
            add_sample(session, host, 0, now - age, PEAK if age == 600 else 0.25)
        add_sample(session, host, MINUTE, now - 7200, 0.1)
        for number, doing in enumerate((run, None)):
            device = f"cuda:{number}"
            session.add(Worker(id=device, host=host, pid=100 + number, device=device, run=doing, seen_at=seen_at))
    server = Server(tmp_path, settings)
    server.start("web")
    yield server, database, host
    server.close()
    database.close()


def add_sample(session: Session, host: str, seconds: int, at: float, utilisation: float) -> None:
    sample = DeviceSample(
        host=host, device="cuda:0", seconds=seconds, time=at, utilisation=utilisation, memory=2 * GIB,
        memory_total=8 * GIB, temperature=55.0,
    )  # fmt: skip
    session.add(sample)


def left_edge(figure: Locator) -> float:
    return float((figure.get_attribute("data-x-range") or "0").split("..")[0])


def test_charts_of_a_device_are_read_zoomed_and_kept(
    home: tuple[Server, Database, str], page: Page, tmp_path: Path
) -> None:
    server, database, host = home
    page.goto(f"{server.url}/system")
    page.evaluate("window.neverReloaded = true")
    first = page.locator("section[data-device='cuda:0']")
    busy, memory, heat = (first.locator(f"[data-quantity={name}]") for name in ("utilisation", "memory", "temperature"))
    expect(busy).to_have_attribute("data-y-range", "0..1")
    expect(memory).to_have_attribute("data-y-range", "0..8")
    expect(memory.locator("[data-key=train]")).to_have_text("2.0 of 8 GiB")
    expect(busy.locator("[data-peak]")).to_have_text("84%")
    expect(heat.locator("[data-key=train]")).to_have_text("55 °C")
    expect(page.locator("section[data-device='cuda:1'] [data-nothing]")).to_be_visible()
    statuses = page.locator("[data-workers] tbody td:last-child")
    expect(statuses).to_have_text(["training run night run", "idle"])

    recorder = Recorder(host, "cuda:0", Told())
    with database.write() as session:
        recorder.record(session, time.time())
    expect(busy.locator("[data-key=train]")).to_have_text("50%")
    expect(heat.locator("[data-key=train]")).to_have_text("61 °C")

    # By keyboard: the time and the value, on this chart, and the values on the others.
    busy.locator("[data-plot]").focus()
    page.keyboard.press("End")
    tip = busy.locator(".chart-tip")
    expect(tip).to_contain_text(re.compile(r"value50%time\d\d:\d\d:\d\d"))
    page.keyboard.press("ArrowLeft")
    expect(tip).to_contain_text("25%")
    expect(heat.locator("[data-key=train]")).to_have_text("55 °C")
    page.keyboard.press("+")
    expect(page).to_have_url(re.compile(r"/system\?zoom=[\d.]+$"))
    before = left_edge(memory)
    page.reload()
    wait_for(lambda: abs(left_edge(memory) - before) < 0.2, what="the part that was zoomed to")
    page.get_by_role("button", name="Reset zoom").click()
    expect(page).not_to_have_url(re.compile("zoom"))

    # What is drawn: a line that is interrupted where nothing was sampled, and axes with units and times.
    picture = ElementTree.fromstring(downloaded(page, busy, "svg", tmp_path))
    (line, *_) = picture.findall(".//{*}g[@clip-path]/{*}path")
    assert line.get("d", "").count("M") >= 2
    texts = [node.text or "" for node in picture.findall("{*}text")]
    assert {"0%", "50%", "100%"} <= set(texts)
    assert sum(re.fullmatch(r"\d\d:\d\d", text) is not None for text in texts) >= 2
    busy.locator("summary", has_text="Table").click()
    cells = busy.locator("tbody tr").first.locator("td")
    expect(cells).to_have_text([re.compile(r"^\d\d:\d\d:\d\d$"), "50%"])

    page.get_by_role("link", name="last day").click()
    expect(page).to_have_url(f"{server.url}/system?span=day")
    expect(busy.locator("[data-peak]")).to_have_text("10%")
    assert page.request.get(f"{server.url}/system?span=year").status == 422


def test_a_worker_samples_its_device(server: Server, page: Page) -> None:
    server.start("web", "worker")
    with server.client() as client:
        wait_for(lambda: client.get("/api/system").json()["devices"], what="a device")
        state = client.get("/api/system").json()
    assert [device["device"] for device in state["devices"]] == ["cpu"]
    assert state["workers"][0]["device"] == "cpu"
    assert 0 < state["disk"]["free"] < state["disk"]["total"]
    assert state["disk"]["datasets"] > 4000 * 32 * 32 * 3
    assert state["versions"]["python"].startswith("3.")
    page.goto(f"{server.url}/system")
    points = page.locator("[data-quantity=utilisation]")
    expect(points).to_have_attribute("data-points-train", re.compile(r"^([3-9]|\d\d)$"), timeout=20_000)
    page.goto(server.url)
    expect(page.locator("[data-lanes] [data-load]")).to_have_text(re.compile(r"^\d+%$"))
