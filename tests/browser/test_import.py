"""Import of a user's photos: staged and corrected on the page, then imported without the unreadable files."""

from __future__ import annotations

import re
import unicodedata
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Page, expect

from tests.conftest import Server
from tests.trainer.data.pictures import png, raw_zip, write_zip
from trainer.data.sources.archive import check_archive

TREES = ("ash", "beech", "birch", "elm", "lime", "oak", "yew")
BROKEN = 3


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Seven classes of twelve photos in various sizes and formats; three of the files are not images."""
    folder = tmp_path / "trees"
    rng = np.random.default_rng(0)
    for label, name in enumerate(TREES):
        (folder / name).mkdir(parents=True)
        for index in range(12):
            height, width = rng.integers(60, 200, 2)
            pixels = rng.integers(0, 60, (height, width, 3), dtype=np.uint8) + np.uint8(20 * label)
            suffix = ("jpg", "png", "webp")[index % 3]
            Image.fromarray(pixels).save(folder / name / f"photo {index}.{suffix}")
    for index in range(BROKEN):
        (folder / TREES[index] / "photo 0.jpg").write_bytes(b"\xff\xd8\xff\xe0 not much more")
    (folder / "oak" / "IMG_1.HEIC").write_bytes(b"\0\0\0\x18ftypheic\0\0\0\0")
    return folder


def test_a_folder_is_looked_at_then_imported_without_what_cannot_be_read(
    server: Server, page: Page, photos: Path
) -> None:
    own = server.settings.datasets
    own.unlink()
    own.mkdir()
    server.start("web", "worker")
    page.goto(f"{server.url}/datasets")
    stage = page.locator("[data-stage]")
    types = stage.evaluate("node => JSON.parse(node.dataset.imageTypes)")
    assert {"png", "jfif", "avif", "tif"} <= types.keys()
    stage.evaluate(  # as of a server that cannot read HEIC
        "({ dataset }) => { const { heic, ...rest } = JSON.parse(dataset.imageTypes);"
        " dataset.imageTypes = JSON.stringify(rest); }"
    )
    page.locator("[data-folder]").set_input_files(photos)
    expect(stage.locator("[data-stage-layout]")).to_contain_text("7 classes")
    expect(stage.locator("[data-stage-classes] li")).to_have_count(7)
    expect(stage.locator("[data-stage-foreign]")).to_contain_text("1 of the files: HEIC")
    expect(stage.locator("[data-stage-foreign]")).to_contain_text("Most Compatible")
    expect(stage.locator("figure")).to_have_count(9)
    assert stage.locator("canvas").first.evaluate("canvas => [canvas.width, canvas.height]") == [64, 64]
    corner = "canvas => canvas.getContext('2d').getImageData(0, 0, 1, 1).data[0]"
    cropped = stage.locator("canvas").first.evaluate(corner)
    size = page.locator("[data-upload] input[name=size]")
    for typed, shown in (("96", 96), ("15", 64), ("513", 64), ("", 64)):
        size.fill(typed)
        size.blur()
        expect(stage.locator("[data-stage-size]")).to_contain_text(f"Imported at {shown}×{shown}")
        assert size.evaluate("field => field.validity.valid") == (typed in ("96", ""))
    page.locator("[data-upload] select[name=fit]").select_option("pad")
    expect(page.locator("[data-upload] input[name=name]")).to_have_value("trees")
    assert stage.locator("canvas").first.evaluate(corner) == 128 != cropped

    page.locator("[data-upload] [data-add]").click()
    failed = page.locator("[data-task-status=failed]")
    expect(failed.locator("li")).to_have_count(BROKEN + 1, timeout=60_000)
    failed.get_by_role("button", name=f"Import {7 * 12 - BROKEN}, leave out {BROKEN + 1}").click()
    expect(page.locator("[data-task-status=finished] a")).to_have_attribute("href", "/datasets/trees", timeout=60_000)
    expect(failed).to_have_count(0)
    with server.client() as client:
        record = client.get("/api/datasets/trees").json()
        assert (record["size"], record["fit"], record["classes"]) == (64, "pad", list(TREES))
        assert record["train_count"] + record["test_count"] == 7 * 12 - BROKEN
        again = client.post(f"/api/tasks/{client.get('/api/tasks').json()[-1]['id']}/retry", json={})
        assert again.status_code == 409


def test_a_folder_of_more_files_than_a_plain_zip_holds_can_be_chosen(server: Server, page: Page) -> None:
    server.start("web")
    page.goto(f"{server.url}/datasets")
    page.locator("[data-folder]").evaluate(
        """(field) => {
          // A FileList of this length takes the browser minutes to build.
          Object.defineProperty(field, "files", { value: Array(65536).fill(new File(["x"], "0.jpg")) });
          field.dispatchEvent(new Event("change"));
        }"""
    )
    expect(page.locator("[data-stage]")).to_contain_text("65,536 files")


def test_a_zip_is_shown_with_the_names_that_its_import_reads(server: Server, page: Page, tmp_path: Path) -> None:
    server.start("web")
    page.goto(f"{server.url}/datasets")
    shown = page.locator("[data-stage-classes] li")
    decomposed = unicodedata.normalize("NFD", "Bär")
    for encoding, names in (("utf-8", [decomposed, "猫"]), ("koi8-r", ["Кошка", "Собака"]), ("cp437", ["Löwe", "├b"])):
        files = {f"Tiere/{name}/{number}.png".encode(encoding): png(number) for name in names for number in range(4)}
        files |= {f"Tiere/{names[0]}/notes.txt".encode(encoding): b"x"}
        path = raw_zip(tmp_path / f"{encoding}.zip", files)
        page.locator("[data-zip]").set_input_files(path)
        for name in check_archive(path).classes:
            expect(shown.filter(has_text=name)).to_have_count(1)
        guessed = re.compile("code page 437" if encoding != "utf-8" else "^$")
        expect(page.locator("[data-stage-foreign]")).to_have_text(guessed)
        expect(page.locator("[data-stage-layout]")).to_contain_text("Other files are not imported: 1 .txt.")


def test_a_zip_with_backslashes_is_shown_as_folders(server: Server, page: Page, tmp_path: Path) -> None:
    server.start("web")
    page.goto(f"{server.url}/datasets")
    files = {f"birds\\{kind}\\{number}.png": png(number) for kind in ("cat", "dog") for number in range(3)}
    page.locator("[data-zip]").set_input_files(write_zip(tmp_path / "back.zip", files))
    expect(page.locator("[data-stage-classes] li")).to_have_count(2)
    expect(page.locator("[data-stage-images] canvas")).to_have_count(6)


def test_a_layout_that_cannot_be_is_explained_before_anything_is_sent(
    server: Server, page: Page, tmp_path: Path
) -> None:
    server.start("web")
    folder = tmp_path / "flat"
    folder.mkdir()
    for index in range(3):
        Image.new("RGB", (8, 8)).save(folder / f"{index}.png")
    page.goto(f"{server.url}/datasets")
    page.locator("[data-folder]").set_input_files(folder)
    expect(page.locator("[data-stage-layout]")).to_have_class(re.compile("field-error"))
    expect(page.locator("[data-stage-layout]")).to_contain_text(re.compile("class|folder"))
