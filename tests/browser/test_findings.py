"""Findings of a live run: their evidence, their images, and launching a clone with the remedy."""

from __future__ import annotations

import re
from io import BytesIO

from PIL import Image
from playwright.sync_api import Page, expect

from app.display.formatting import number
from tests.conftest import NARROW, Server

BROKEN = {**NARROW, "optimizer.lr": 0.1, "epochs": 2, "checks": "full", "thresholds.one_batch_steps": 5}


def test_a_finding_appears_with_its_evidence_and_its_remedy_is_one_click_away(server: Server, page: Page) -> None:
    server.start("web", "worker")
    run_id = server.launch(overrides=BROKEN)
    page.goto(f"{server.url}/runs/{run_id}")
    page.evaluate("window.neverReloaded = true")
    finding = page.locator("[data-finding=lr_too_high]")
    expect(finding).to_contain_text("is too high", timeout=60_000)
    assert page.evaluate("window.neverReloaded") is True
    expect(finding.locator("path.line-1")).to_have_attribute("d", re.compile(r"^M0\.0 "))
    expect(page.locator("[data-finding='check/one_batch']")).to_contain_text("not memorized")

    server.wait_status(run_id, "finished")
    page.goto(f"{server.url}/runs/{run_id}?tab=checks")
    expect(page.locator("[data-check='Loss at the start'] [data-level=pass]")).to_have_text("passed")
    expect(page.locator("[data-check='Overfit one batch'] [data-level=fail]")).to_have_text("problem")
    expect(page.locator("[data-check='Input batch'] .sheet figure")).to_have_count(32)
    expect(page.locator("[data-check='Overfit one batch'] .sheet .wrong").first).to_contain_text("said ")
    expect(page.locator(".strip tbody tr")).to_have_count(12)
    expect(page.locator(".strip thead th")).to_have_count(3)
    filters = page.request.get(server.url + (page.locator("img.filters").get_attribute("src") or ""))
    with Image.open(BytesIO(filters.body())) as picture:
        assert len(picture.getcolors(1 << 20) or []) > 100

    with server.client() as client:
        found = {item["kind"]: item for item in client.get(f"/api/runs/{run_id}/findings").json()}
    rate = found["lr_too_high"]["remedy"]["overrides"]["optimizer.lr"]
    page.locator("[data-finding=lr_too_high] [data-try]").click()
    expect(page.locator("h1")).to_contain_text(f"lr{number(rate)}")
    clone = server.run(page.url.rsplit("/", 1)[1])
    assert clone["spec"]["optimizer"]["lr"] == rate < 0.1
    assert clone["parent"] == run_id
