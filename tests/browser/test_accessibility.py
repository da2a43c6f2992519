"""axe-core reports no serious violation on any page in either theme."""

from __future__ import annotations

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser

from tests.conftest import NARROW, Server

SERIOUS = ("serious", "critical")
BROKEN = {**NARROW, "checks": "quick", "optimizer.lr": 0.1, "epochs": 1}  # gives a finding


def test_nothing_serious_on_any_page(server: Server, browser: Browser) -> None:
    server.start("web", "worker")
    run_id = server.launch(name="looked at", tags=["a"], overrides=BROKEN)
    server.wait_status(run_id, "finished")
    server.wait_measured("shapes100")
    paths = [
        "/", "/?status=failed", "/runs/new", f"/runs/{run_id}", f"/runs/{run_id}?tab=checks",
        f"/runs/{run_id}?tab=errors&cell=1,2", f"/runs/{run_id}?tab=log",
        f"/runs/{run_id}?tab=setup", "/datasets", "/datasets/shapes100",
        "/datasets/shapes100?view=duplicates", f"/predict?model={run_id}", f"/compare?runs={run_id}", "/results",
        "/system", "/tokens", "/models", f"/models/{run_id}",
    ]  # fmt: skip
    axe, found = Axe(), []
    for theme in ("light", "dark"):
        context = browser.new_context(viewport={"width": 1440, "height": 900}, color_scheme=theme)
        page = context.new_page()
        for path in paths:
            page.goto(server.url + path)
            page.wait_for_load_state("load")
            for violation in axe.run(page).response["violations"]:
                if violation["impact"] in SERIOUS:
                    nodes = [node["target"] for node in violation["nodes"][:3]]
                    found.append(f"{path} {theme}: {violation['id']}: {violation['help']} {nodes}")
        context.close()
    assert found == []
