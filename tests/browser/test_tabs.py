"""Each tab of a trained run: what the page shows, compared with the data of the API.

TRACKSIDE_TEST_DATASETS may name a folder with `cifar100`; by default, the run uses the small shapes100.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import pytest
from PIL import Image
from playwright.sync_api import Page, expect

from app.display.formatting import percent
from tests.conftest import Server

REAL = os.environ.get("TRACKSIDE_TEST_DATASETS")
DATASET = "cifar100" if REAL else "shapes100"

PAINTED = """canvas => {
  const pixels = new Uint32Array(canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data.buffer);
  return new Set(pixels.filter((pixel) => pixel >>> 24)).size;
}"""


@pytest.mark.timeout(900)
def test_each_tab_draws_what_was_trained(make_server: Callable[..., Server], page: Page) -> None:
    server = make_server()
    if REAL:
        (server.home / "datasets").unlink()
        (server.home / "datasets").symlink_to(Path(REAL).resolve())
    server.start("web", "worker")
    overrides = {"epochs": 2} if REAL else {"epochs": 2, "model.widths": [8, 16, 16]}
    run_id = server.launch(preset="quick", dataset=DATASET, overrides=overrides, expectation="better than chance")
    run = server.wait_status(run_id, "finished", seconds=800)
    address = f"{server.url}/runs/{run_id}"

    page.goto(address)
    expect(page.locator("[data-fact=best]")).to_have_text(f"{percent(run['best_acc'])}%")
    expect(page.locator("[data-expected]")).to_contain_text(f"Result {percent(run['best_acc'])}%")
    stored = server.series(run_id)
    drawn = {"loss": ("train/loss", "val/loss"), "accuracy": ("train/acc", "val/acc"), "lr": ("lr", None)}
    for name, (train, val) in drawn.items():
        chart = page.locator(f"[data-chart={name}]")
        expect(chart).to_have_attribute("data-points-train", str(stored[train]["total"]))
        if val:
            expect(chart).to_have_attribute("data-points-val", "2")
        assert chart.locator("canvas").first.evaluate(PAINTED) > 3
    loss = page.locator("[data-chart=loss]")
    loss.locator("summary", has_text="Table").click()
    newest = loss.locator("tbody tr").first
    expect(newest.locator("td").first).to_have_text(str(stored["train/loss"]["step"][-1]))
    expect(newest).to_contain_text(f"{stored['train/loss']['value'][-1]:.3f}"[:5])

    page.goto(f"{address}?tab=checks")
    with server.client() as client:
        found = [
            item for item in client.get(f"/api/runs/{run_id}/findings").json() if item["kind"].startswith("check/")
        ]
    assert len(found) >= 4
    expect(page.locator("[data-check] h3 .verdict")).to_have_count(len(found))
    expect(page.locator("[data-check='Input batch'] .sheet figure")).to_have_count(32)
    sheet = page.request.get(f"{server.url}/api/runs/{run_id}/checks/input.png")
    with Image.open(BytesIO(sheet.body())) as picture:
        assert len(picture.getcolors(1 << 20) or []) > 1000
    expect(page.locator(".strip tbody tr")).to_have_count(12)
    expect(page.locator(".strip thead th")).to_have_count(3)
    assert page.locator("img.filters").evaluate("image => image.complete && image.naturalWidth") > 8

    page.goto(f"{address}?tab=errors")
    canvas = page.locator("[data-matrix] canvas")
    matrix = page.request.get(f"{server.url}/api/runs/{run_id}/confusion").json()
    expect(canvas).to_have_attribute("data-drawn", str(len(matrix["cells"])))
    assert canvas.evaluate(PAINTED) > 5
    expect(page.locator(".class-list tbody tr")).to_have_count(len(matrix["order"]))
    expect(page.locator(".pixel").first).to_be_visible()

    page.goto(f"{address}?tab=log")
    lines = page.locator("[data-log-lines] > *")
    with server.client() as client:
        expect(lines).to_have_count(len(client.get(f"/api/runs/{run_id}/log").json()))
    page.locator("[data-log-search]").fill("epoch 2")
    expect(page.locator("[data-log-lines]")).to_contain_text("val/acc")

    page.goto(f"{address}?tab=setup")
    expect(page.locator("[data-copyable] pre").first).to_contain_text("--preset quick")
    expect(page.locator("[data-checkpoint-file]")).to_have_count(2)
    listed = page.request.get(f"{server.url}/api/runs/{run_id}/checkpoints").json()
    assert {item["step"] for item in listed} == {run["steps_per_epoch"], run["total_steps"]}
