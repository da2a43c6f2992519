"""Device telemetry is updated live, on the System page and next to the lanes."""

from __future__ import annotations

import re

from playwright.sync_api import Page, expect

from tests.conftest import Server, wait_for


def test_devices_are_watched_live(server: Server, page: Page) -> None:
    server.start("web", "worker")
    with server.client() as client:
        wait_for(lambda: client.get("/api/system").json()["devices"], what="a device")
        first = client.get("/api/system").json()
    (device,) = first["devices"]
    assert device["device"] == "cpu"
    assert first["workers"][0]["device"] == "cpu"
    assert 0 < first["disk"]["free"] < first["disk"]["total"]
    assert first["disk"]["datasets"] > 4000 * 32 * 32 * 3
    assert first["versions"]["python"].startswith("3.")

    page.goto(f"{server.url}/system")
    page.evaluate("window.neverReloaded = true")
    expect(page.locator("[data-now=utilisation]")).to_have_text(re.compile(r"^\d+%$"))
    expect(page.locator("[data-now=memory]")).to_have_text(re.compile(r"^\d+\.\d of \d+\.\d GiB$"))
    curve = page.locator("[data-trace=memory] path").last
    expect(curve).to_have_attribute("d", re.compile("^M.*L"), timeout=20_000)
    drawn = curve.get_attribute("d") or ""
    expect(curve).not_to_have_attribute("d", drawn, timeout=20_000)
    assert page.evaluate("window.neverReloaded") is True
    for span in ("day", "week"):
        page.goto(f"{server.url}/system?span={span}")
        expect(page.locator("[aria-current=true]")).to_have_text(f"last {span}")
    assert page.request.get(f"{server.url}/system?span=year").status == 422

    page.goto(server.url)
    expect(page.locator("[data-lanes] [data-load]")).to_have_text(re.compile(r"^\d+%$"))
