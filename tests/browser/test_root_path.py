"""Behind a reverse proxy under a path: launch a run, watch its curve move, and predict with it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import FilePayload, Page, Response, expect

from tests.conftest import Server
from tests.web.proxy import ROOT, reverse_proxy

OPEN = "node => { for (let d = node.closest('details'); d; d = d.parentElement.closest('details')) d.open = true; }"


@pytest.fixture
def origin(server: Server) -> Iterator[str]:
    server.start("web", "worker", "predictor", TRACKSIDE_ROOT_PATH=ROOT)
    with reverse_proxy(server.settings.port) as origin:
        yield origin


@pytest.mark.long
@pytest.mark.timeout(300)
def test_a_run_from_launch_to_prediction(server: Server, origin: str, page: Page) -> None:
    failed: list[str] = []

    def note(answer: Response) -> None:
        if answer.status >= 400 or not answer.url.startswith((f"{origin}{ROOT}/", "data:", "blob:")):
            failed.append(f"{answer.status} {answer.url}")

    page.on("response", note)
    page.on("console", lambda message: failed.append(message.text) if message.type == "error" else None)
    page.goto(f"{origin}{ROOT}/")
    page.locator("[data-new-run]").click()
    page.locator("input[name=preset][value=baseline-cnn]").check(force=True)
    for name, value in {"max_steps": "40", "log_every": "2", "compile": "off"}.items():
        field = page.locator(f"[name='{name}']")
        field.evaluate(OPEN)
        field.select_option(value) if field.evaluate("node => node.tagName") == "SELECT" else field.fill(value)
    page.locator("[data-launch-button]").click()
    page.wait_for_url(f"{origin}{ROOT}/runs/*")
    run_id = page.url.rsplit("/", 1)[-1]
    chart = page.locator("[data-chart='loss']")
    expect(chart).not_to_have_attribute("data-last-step", "-1", timeout=120_000)  # without a reload: a live stream
    expect(page.locator("[data-run-status]")).to_have_text("finished", timeout=120_000)
    for tab in ("log", "setup", "errors"):
        page.goto(f"{origin}{ROOT}/runs/{run_id}?tab={tab}")
        page.wait_for_load_state("load")

    page.goto(f"{origin}{ROOT}/predict?model={run_id}")
    with server.client() as client:
        image = client.get("/api/datasets/shapes100/images/test/0.png").content
    shape: FilePayload = {"name": "shape.png", "mimeType": "image/png", "buffer": image}
    page.locator("input[data-predict-file]").set_input_files(shape)
    expect(page.locator("[data-predictions] li")).to_have_count(5, timeout=60_000)
    page.goto(f"{origin}{ROOT}/docs")
    expect(page.locator("#swagger-ui .opblock").first).to_be_visible(timeout=30_000)
    assert failed == []
