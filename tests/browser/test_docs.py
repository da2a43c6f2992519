from __future__ import annotations

from playwright.sync_api import Page, expect

from tests.conftest import Server


def test_the_api_is_described_without_another_host(server: Server, page: Page) -> None:
    server.start("web")
    hosts: set[str] = set()
    page.on("request", lambda request: hosts.add(request.url.split("/")[2]) if "://" in request.url else None)
    page.goto(f"{server.url}/docs")
    expect(page.get_by_text("/api/predict").first).to_be_visible(timeout=30_000)
    expect(page.get_by_text("/api/runs/{run_id}/metrics").first).to_be_visible()
    assert hosts == {server.url.split("//")[1]}
