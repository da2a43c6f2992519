"""An import is cancelled, a failed one dismissed, a dataset renamed and deleted; a batch prediction is cancelled."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from app.jobs.tasks import Tasks
from app.runs.runs import Runs
from app.storage.db import Database
from tests.conftest import Server, wait_for
from tests.finished_runs import finished_run
from tests.web.zips import GOOD, archive
from trainer.rundir.folder import TaskDir
from trainer.spec.tasks import PredictRequest


@pytest.fixture
def own(server: Server, shapes: Path) -> Server:
    """A server with a datasets folder of its own, empty."""
    server.settings.datasets.unlink()
    server.settings.datasets.mkdir()
    return server


@pytest.mark.timeout(180)
def test_an_import_is_cancelled_and_dismissed(own: Server, page: Page) -> None:
    own.start("web")
    page.goto(f"{own.url}/datasets")
    page.get_by_text("shapes100", exact=True).click()
    page.locator("[data-source-form] [data-add]").click()
    waiting = page.locator("[data-task-status=queued]")
    expect(waiting).to_contain_text("waiting for a worker")
    waiting.get_by_role("button", name="Cancel the import of shapes100").click()
    cancelled = page.locator("[data-task-status=stopped]")
    expect(cancelled).to_contain_text("import cancelled")

    own.start("worker")
    page.locator("[data-source-form] [name=name]").fill("again")
    page.get_by_text("shapes100", exact=True).last.click()
    page.locator("[data-source-form] [name=name]").fill("again")
    page.locator("[data-source-form] [data-add]").click()
    running = page.locator("[data-task-status=running]")
    expect(running).to_contain_text("%", timeout=90_000)
    running.get_by_role("button", name="Cancel").click()
    expect(cancelled).to_have_count(2, timeout=30_000)
    page.reload()
    expect(cancelled).to_have_count(2)
    for left in (1, 0):
        cancelled.first.get_by_role("button", name="Dismiss").click()
        expect(cancelled).to_have_count(left)
    # The page hears of it before the files are gone.
    wait_for(lambda: not list(own.settings.tasks.iterdir()) or None, 20, "the deleted files")
    wait_for(lambda: not list(own.settings.datasets.iterdir()) or None, 20, "the deleted datasets")


@pytest.mark.timeout(180)
def test_a_failed_upload_is_dismissed_on_all_open_pages(own: Server, page: Page) -> None:
    own.start("web", "worker")
    other = page.context.new_page()
    for tab in (page, other):
        tab.goto(f"{own.url}/datasets")
    broken = archive({**GOOD, "ant/broken.png": b"no image"})
    with own.client() as client:
        client.post("/api/datasets", files={"file": ("x.zip", broken)}, data={"name": "insects"}).raise_for_status()
    for tab in (page, other):
        expect(tab.locator("[data-task-status=failed]")).to_contain_text("insects was not added", timeout=90_000)
    page.locator("[data-task-status=failed]").get_by_role("button", name="Dismiss").click()
    for tab in (page, other):
        expect(tab.locator("[data-task]")).to_have_count(0)
    # The page hears of it before the files are gone.
    wait_for(lambda: not list(own.settings.tasks.iterdir()) or None, 20, "the deleted files")
    page.reload()
    expect(page.locator("[data-task]")).to_have_count(0)


def test_a_dataset_is_renamed_then_deleted(own: Server, page: Page, shapes: Path) -> None:
    shutil.copytree(shapes / "shapes100", own.settings.datasets / "shapes100")
    database = Database(own.settings.url)
    run = finished_run(Runs(database, own.settings), [0.1, 0.3])
    database.close()
    own.start("web")
    waiting = own.launch(name="next in line")
    menu, rename, delete = (
        page.locator(f"[data-{name}]") for name in ("dataset-menu", "dialog=rename", "dialog=delete")
    )

    def open_dialog(name: str) -> None:
        menu.locator("summary").click()
        menu.get_by_role("button", name=name).click()

    page.goto(f"{own.url}/datasets/shapes100")
    open_dialog("Delete…")
    own.wait_measured("shapes100")  # upon which the page reloads, but not while a dialog is open
    expect(delete).to_contain_text('"next in line". Stop or delete it first.')
    expect(delete.get_by_role("button", name="Delete")).to_have_count(0)
    delete.get_by_role("button", name="Close").click()
    expect(page.locator("[data-count=duplicates]")).to_be_visible(timeout=30_000)
    expect(delete).to_be_hidden()
    own.stop_run(waiting)

    page.reload()
    open_dialog("Rename…")
    rename.locator("[name=name]").fill("a b")
    rename.get_by_role("button", name="Rename").click()
    expect(rename).to_be_visible()
    rename.locator("[name=name]").fill("forms")
    rename.get_by_role("button", name="Rename").click()
    expect(page).to_have_url(f"{own.url}/datasets/forms")
    assert own.run(run)["dataset"] == "forms"

    open_dialog("Delete…")
    expect(delete).to_contain_text("2 runs were trained on it")
    expect(delete).to_contain_text(re.compile(r"5,000 images and frees 1\d\.\d MB"))
    other = own.launch(dataset="forms", name="too late")
    delete.get_by_role("button", name="Delete").click()
    expect(delete.locator("[data-dialog-error]")).to_contain_text("too late")
    own.stop_run(other)
    delete.get_by_role("button", name="Delete").click()
    expect(page).to_have_url(f"{own.url}/datasets")
    expect(page.get_by_text("There is no dataset yet")).to_be_visible()
    wait_for(lambda: not list(own.settings.datasets.iterdir()) or None, 20, "the deleted datasets")
    page.goto(f"{own.url}/runs/{run}?tab=errors")
    expect(page.locator("main")).to_contain_text("was deleted or replaced")


def test_a_batch_prediction_is_cancelled_and_dismissed(server: Server, page: Page) -> None:
    database = Database(server.settings.url)
    tasks = Tasks(database, server.settings)
    run = finished_run(Runs(database, server.settings), [0.1, 0.3])
    folder = tasks.new_folder()
    upload = TaskDir(folder).upload
    upload.write_bytes(b"zip")
    asked = {"model": run, "run": run, "top_k": 5, "device": "cpu", "source": str(upload), "label": "photos.zip"}
    tasks.create(folder, PredictRequest.model_validate(asked))
    database.close()
    server.start("web")
    page.goto(f"{server.url}/predict?model={run}")
    page.get_by_role("button", name="Cancel photos.zip").click()
    cancelled = page.locator("[data-task-status=stopped]")
    expect(cancelled).to_contain_text("cancelled")
    assert not upload.exists()
    cancelled.get_by_role("button", name="Dismiss").click()
    expect(page.locator("[data-task]")).to_have_count(0)
    assert not folder.exists()
