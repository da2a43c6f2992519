"""`python -m tests.screenshots [--home HOME] [NAME…]`: save screenshots of all or the named pages to docs/screenshots.

Each page is captured in three widths and two themes, with runs on shapes100 that the script trains first (about ten
minutes on two cores). They are kept in HOME, if it is given, and used again.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import httpx
from PIL import Image
from playwright.sync_api import Page, sync_playwright

from tests.benchmarks.rows import served, until
from tests.browser.conftest import ARGUMENTS
from tests.browser.find_browser import installed

ROOT = Path(__file__).parents[1]
CLIENT = ROOT / "client"
FOLDER = ROOT / "docs" / "screenshots"
WIDTHS = {"wide": 1440, "medium": 768, "narrow": 390}
HEIGHT = 900
COLORS = 160
SETTLE_MS = 1200
# Trains in minutes. While a run trains on reduced images, its validation on whole ones says little.
SMALL: dict[str, Any] = {"model.widths": [24, 96, 96], "augment.resolutions": [], "augment.resolution_until": []}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME")
    parser.add_argument("--home", type=Path)
    options = parser.parse_args()
    if options.home is not None:
        options.home.mkdir(parents=True, exist_ok=True)
        capture(options.home, options.names)
    else:
        with tempfile.TemporaryDirectory() as folder:
            capture(Path(folder), options.names)


def capture(home: Path, names: list[str]) -> None:
    with served(home=home) as address, httpx.Client(base_url=address, timeout=60) as client:
        runs = {**trained(client, home / "screenshots.json"), **started(client)}
        with sync_playwright() as playwright:
            chromium = playwright.chromium.launch(executable_path=installed(), args=ARGUMENTS)
            for width_name, width in WIDTHS.items():
                for theme in ("light", "dark"):
                    context = chromium.new_context(
                        viewport={"width": width, "height": HEIGHT},
                        color_scheme=theme,
                    )
                    for name, path in pages(runs).items():
                        if names and name not in names:
                            continue
                        page = context.new_page()
                        page.goto(address + path)
                        page.wait_for_timeout(SETTLE_MS)
                        if name == "predict":
                            classify(page)
                        save(page, FOLDER / f"{name}-{width_name}-{theme}.png")
                        page.close()
                    context.close()
            chromium.close()
        for run_id in (runs["now"], *runs["waiting"]):
            client.post(f"/api/runs/{run_id}/stop")


def trained(client: httpx.Client, file: Path) -> dict[str, Any]:
    """Return the ids of the ended runs that the pages show, as in `file`; if it is not there, train them first.

    One good run, a group of runs over learning rates and seeds, one that diverges; and what `others` makes.
    """
    if file.exists():
        return dict(json.loads(file.read_text()))
    good = launch(
        client,
        "quick",
        {**SMALL, "epochs": 4},
        name="swift, 4 epochs",
        expectation="above 60%, and no overfitting",
        starred=True,
    )
    vary = {"optimizer.lr": [1e-3, 3e-4], "seed": [0, 1]}
    body = {"dataset": "shapes100", "preset": "baseline-cnn", "overrides": {"epochs": 2}, "vary": vary}
    group = [run["id"] for run in client.post("/api/runs/variants", json=body).raise_for_status().json()["runs"]]
    broken = launch(client, "baseline-cnn", {"optimizer.lr": 0.1, "epochs": 1})
    for run_id in (good, *group, broken):
        until(lambda run_id=run_id: status(client, run_id) == "finished", 1800, 0.5)  # type: ignore[misc]
    client.post("/api/datasets/shapes100/statistics")
    until(lambda: client.get("/api/datasets/shapes100/statistics").status_code == 200, 120, 0.5)
    for run_id in (group[0], good):
        client.put("/api/models/production", json={"run": run_id}).raise_for_status()
    found = {"good": good, "group": group, "broken": broken, **others(client, good, group)}
    file.write_text(json.dumps(found))
    return found


SCRIPT = """
import math, trackside
with trackside.init(project="segmentation", name="unet, dice loss", config={"lr": 0.001, "model": {"depth": 4}}) as run:
    for step in range(400):
        fall = math.exp(-step / 90)
        run.log({"train/loss": 0.2 + fall + 0.03 * math.sin(7.3 * step), "train/dice": 0.9 - 0.8 * fall})
        if step % 40 == 39:
            run.log({"val/loss": 0.26 + fall, "val/dice": 0.86 - 0.78 * fall})
"""
REPORT = """The learning rate decides more than the seed.

```chart
title: Validation accuracy
runs: {group}
series: val/acc
```

```runs
runs: {group}
columns: best, optimizer.lr, seed, duration
```
"""


def others(client: httpx.Client, good: str, group: list[str]) -> dict[str, Any]:
    """Make a finished search, the run of a script, a report and a link to it; return their ids and the link's path."""
    body = {
        "dataset": "shapes100", "preset": "baseline-cnn", "name": "learning rate and dropout", "trials": 12,
        "overrides": {"epochs": 3, "max_steps": 90, "checks": "off"},
        "space": {"optimizer.lr": {"low": 1e-4, "high": 1e-1, "log": True}, "model.dropout": {"low": 0.0, "high": 0.6}},
    }  # fmt: skip
    search = client.post("/api/searches", json=body).raise_for_status().json()["id"]
    until(lambda: client.get(f"/api/searches/{search}").json()["status"] == "finished", 1800, 0.5)
    address = str(client.base_url).rstrip("/")
    with tempfile.TemporaryDirectory() as folder:
        environment = {**os.environ, "TRACKSIDE_URL": address, "PYTHONPATH": str(CLIENT)}
        subprocess.run([sys.executable, "-c", SCRIPT], cwd=folder, env=environment, check=True)
    script = client.get("/api/runs", params={"q": "source:script"}).json()["items"][0]["id"]
    text = REPORT.format(group=", ".join(group))
    report = client.post("/api/reports", json={"title": "Learning rate and seed", "text": text}).json()["id"]
    link = client.post("/api/shares", json={"run": good}).raise_for_status().json()["url"]
    return {"search": search, "script": script, "report": report, "shared": link.removeprefix(address)}


def started(client: httpx.Client) -> dict[str, Any]:
    """Return the ids of new runs: one that is running, and two in the queue."""
    now = launch(client, "quick", {**SMALL, "epochs": 40, "seed": 1}, name="swift, 40 epochs")
    waiting = [launch(client, "baseline-cnn", {"epochs": 40, "model.dropout": rate}) for rate in (0.1, 0.3)]
    until(lambda: client.get(f"/api/runs/{now}").json()["epoch"] > 2, 600, 0.5)
    return {"now": now, "waiting": waiting}


def launch(client: httpx.Client, preset: str, overrides: dict[str, Any], *, starred: bool = False, **more: str) -> str:
    body = {"dataset": "shapes100", "preset": preset, "overrides": overrides, **more}
    run_id = str(client.post("/api/runs", json=body).raise_for_status().json()["id"])
    if starred:
        client.patch(f"/api/runs/{run_id}", json={"starred": True, "tags": ["keep"]}).raise_for_status()
    return run_id


def status(client: httpx.Client, run_id: str) -> str:
    found = str(client.get(f"/api/runs/{run_id}").json()["status"])
    assert found != "failed"
    return found


def pages(runs: dict[str, Any]) -> dict[str, str]:
    good, compared = f"/runs/{runs['good']}", ",".join([runs["good"], *runs["group"]])
    return {
        "runs": "/",
        "launch": "/runs/new?dataset=shapes100&preset=baseline-cnn&optimizer.lr=1e-4,3e-4,1e-3&epochs=10",
        "run": f"/runs/{runs['now']}",
        "run-finished": good,
        "findings": f"/runs/{runs['broken']}",
        "checks": f"{good}?tab=checks",
        "errors": f"{good}?tab=errors",
        "log": f"{good}?tab=log",
        "setup": f"{good}?tab=setup",
        "compare": f"/compare?runs={compared}",
        "results": "/results",
        "data": "/datasets",
        "explorer": "/datasets/shapes100",
        "predict": f"/predict?model={runs['good']}",
        "search": f"/searches/{runs['search']}",
        "script": f"/runs/{runs['script']}",
        "report": f"/reports/{runs['report']}",
        "shared": runs["shared"],
        "alerts": "/alerts",
        "models": "/models",
        "model": "/models/production",
        "system": "/system",
    }


def classify(page: Page) -> None:
    page.locator("[data-test-image]").first.click()
    page.wait_for_timeout(SETTLE_MS)


def save(page: Page, path: Path) -> None:
    """Save a screenshot as a palette PNG, which has a third of the size."""
    with Image.open(io.BytesIO(page.screenshot())) as picture:
        picture.convert("RGB").quantize(COLORS, dither=Image.Dither.NONE).save(path, "PNG", optimize=True)


if __name__ == "__main__":
    main()
