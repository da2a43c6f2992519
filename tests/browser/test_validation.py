"""The validation split, as the preview of an upload and the launch form show it."""

from __future__ import annotations

from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.conftest import Server
from tests.trainer.data.own_validation import make_own_validation, make_uneven
from tests.trainer.data.pictures import tree, write_tree


@pytest.fixture
def web(server: Server) -> Server:
    """A server with a dataset that has a validation split of its own, and one that has none."""
    server.settings.datasets.unlink()
    make_own_validation(server.settings.datasets)
    make_uneven(server.settings.datasets)
    server.start("web")
    return server


def test_the_preview_says_what_becomes_of_each_folder(web: Server, page: Page, tmp_path: Path) -> None:
    files = tree("pets/train/cat", "pets/train/dog", each=10) | tree("pets/valid/cat", each=4)
    page.goto(f"{web.url}/datasets")
    page.locator("[data-folder]").set_input_files(write_tree(tmp_path, files) / "pets")
    said = page.locator("[data-stage-layout]")
    expect(said).to_contain_text("2 classes: 16 images to train on, 4 to validate on, 4 to test with.")
    expect(said).to_contain_text("Validation: own validation split, 4 images; not validated: 1 class (dog).")
    expect(said).to_contain_text("Test: a fifth of the training images of each class, drawn at the import")
    expect(page.locator("[data-stage-classes] li").first).to_have_text("cat 8 + 4 + 2")


def test_the_validation_share_is_locked_where_the_dataset_has_its_own_split(web: Server, page: Page) -> None:
    page.goto(f"{web.url}/runs/new?dataset=uneven&preset=quick&early_stopping=2")
    words, share = page.locator("aside [data-validation]"), page.locator("#f-val_fraction")
    expect(words).to_have_text(
        "4 images held out of train (7.5%), at least one per class; not validated: 1 class (d) with only one training "
        "image; too few to tell recipes apart"
    )
    expect(share).to_be_enabled()
    share.evaluate("field => { field.value = '0'; field.dispatchEvent(new Event('input', {bubbles: true})); }")
    expect(page.locator('[data-error-for="early_stopping"]')).to_have_text("early stopping needs a validation split")

    page.locator('input[name="dataset"][value="own"]').check(force=True)
    expect(words).to_have_text("own validation split, 10 images; not validated: 1 class (cow)")
    expect(share).to_be_disabled()
    expect(page.locator("#w-val_fraction")).to_have_text(
        "Not used: this dataset has its own validation split of 10 images."
    )
    expect(page.locator('[data-error-for="early_stopping"]')).to_be_hidden()
    page.locator("[data-launch-button]").click()
    page.wait_for_url("**/runs/*")
    page.goto(f"{page.url}?tab=setup")
    expect(page.locator("[data-validation]")).to_have_text(
        "own validation split, 10 images; not validated: 1 class (cow)"
    )
