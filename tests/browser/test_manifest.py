"""Import by a manifest with groups: looked at, corrected and added on the page."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.conftest import Server
from tests.trainer.data.pictures import png


@pytest.fixture
def clinic(tmp_path: Path) -> Path:
    """Folders of five patients with four images each; the classes are in metadata.csv."""
    folder = tmp_path / "clinic"
    rows = ["file_name;label;patient"]
    for patient in range(5):
        (folder / f"scan{patient}").mkdir(parents=True)
        for number in range(4):
            (folder / f"scan{patient}" / f"{number}.png").write_bytes(png(10 * patient + number))
            rows.append(f"scan{patient}/{number}.png;{('benign', 'malign')[number % 2]};P{patient}")
    (folder / "metadata.csv").write_text("\n".join(rows), "utf-16")
    return folder


def test_classes_of_a_manifest_and_groups_are_shown_then_imported(server: Server, page: Page, clinic: Path) -> None:
    own = server.settings.datasets
    own.unlink()
    own.mkdir()
    server.start("web", "worker")
    page.goto(f"{server.url}/datasets")
    layout = page.locator("[data-stage-layout]")
    page.locator("[data-folder]").set_input_files(clinic)
    expect(layout).to_contain_text("Classes from clinic/metadata.csv.")
    expect(layout).to_contain_text("2 classes: 16 images to train on, 4 to test with.")
    expect(page.locator("[data-stage-images] figure")).to_have_count(9)
    groups = page.get_by_label("Groups that are never parted")
    expect(groups.locator("option")).to_have_text(
        [
            "none: each image stands alone",
            "column patient",
            "folders of level 1, such as clinic",
            re.compile("folders of level 2, such as scan[0-4]"),
        ]
    )
    groups.select_option(label="folders of level 1, such as clinic")
    expect(layout).to_have_class(re.compile("field-error"))
    expect(layout).to_contain_text("No group can be held out for the test")
    groups.select_option("column:patient")
    expect(layout).to_contain_text("5 groups, each in one split.")
    expect(layout).to_contain_text("Test: whole groups, about a fifth of the images")

    expect(page.locator("[data-labelling]")).to_have_attribute("open", "")
    wrong = clinic.parent / "wrong.csv"
    wrong.write_text("file_name,label\nscan0/0.png,benign\nscan9/0.png,malign\n")
    manifest = page.get_by_label("Manifest, if folders do not tell the classes")
    manifest.set_input_files(wrong)
    groups.select_option("")
    expect(layout).to_contain_text("wrong.csv cannot be imported: line 3: there is no file scan9/0.png.")
    manifest.set_input_files([])
    expect(layout).to_contain_text("Classes from clinic/metadata.csv.")
    groups.select_option("column:patient")
    expect(layout).to_contain_text("5 groups")

    page.locator("[data-upload] [data-add]").click()
    expect(page.locator("[data-task-status=finished] a")).to_have_attribute("href", "/datasets/clinic", timeout=60_000)
    page.goto(f"{server.url}/datasets/clinic")
    expect(page.locator("[data-groups]")).to_have_text("5 groups, each in one split.")
