"""The numbers to decide on: curves of a class, calibration, and a threshold below which a model is not sure."""

from __future__ import annotations

import re
from pathlib import Path

from playwright.sync_api import Page, expect

from tests.conftest import Server
from tests.trainer.data.pictures import png


def test_curves_calibration_and_a_threshold(server: Server, page: Page, tmp_path: Path) -> None:
    server.start("web", "worker", "predictor")
    run_id = server.launch(overrides={"max_steps": 40, "batch_size": 32, "select_by": "macro_f1", "checks": "off"})
    server.wait_status(run_id, "finished", seconds=90)

    page.goto(f"{server.url}/runs/{run_id}?tab=errors")
    expect(page.locator("[data-averages]")).to_contain_text("precision")
    curves = page.locator("[data-class-curves]")
    expect(curves.locator("svg path.line")).to_have_count(2)
    expect(curves.locator("figcaption").first).to_contain_text(re.compile(r"area 0\.\d{3}"))
    curves.locator("select").select_option(index=7)
    chosen = curves.locator("option:checked").inner_text()
    expect(page).to_have_url(re.compile(r"of=\d+"))
    expect(curves.locator("p.sub").last).to_contain_text(f"{chosen} against the other classes")
    calibration = page.locator("[data-calibration]")
    assert calibration.locator("circle").count() >= 2
    assert page.locator("svg").first.bounding_box() is not None

    page.goto(f"{server.url}/models/{run_id}")
    expect(page.locator("[data-coverage] path.line")).to_have_count(1)
    page.get_by_label("Threshold").fill("0.999")
    page.get_by_role("button", name="Set", exact=True).click()
    expect(page.locator("[data-now]")).to_contain_text("0.999")

    image = tmp_path / "noise.png"
    image.write_bytes(png(1))
    page.goto(f"{server.url}/predict?model={run_id}")
    page.locator("input[type=file]").first.set_input_files(image)
    expect(page.locator("[data-answer-top]").first).to_be_visible(timeout=30_000)
    expect(page.locator("[data-unsure]").first).to_be_visible()
    page.goto(f"{server.url}/models/{run_id}")
    page.get_by_label("Threshold").fill("")
    page.get_by_role("button", name="Set", exact=True).click()
    expect(page.locator("[data-now]")).to_have_count(0)

    page.goto(f"{server.url}/results")
    page.get_by_label("Rank by").select_option("macro_f1")
    expect(page.locator("thead").first).to_contain_text("Validation macro F1, %")
    expect(page.locator("[data-rows] tr").first).to_be_visible()
