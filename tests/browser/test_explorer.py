"""A dataset with suspicious images: they are listed without a reload, and drawn."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
from playwright.sync_api import Page, expect

from tests.conftest import Server
from trainer.data.writer import write_dataset


def test_duplicates_are_found_and_drawn(server: Server, page: Page) -> None:
    rng = np.random.default_rng(0)
    pictures = rng.integers(0, 256, (40, 32, 32, 3), dtype=np.uint8)
    pictures[:, :, :] = np.linspace(10, 240, 40).astype(np.uint8)[:, None, None, None]
    pictures += rng.integers(0, 10, pictures.shape, dtype=np.uint8)
    pictures[7] = pictures[3]
    labels = np.arange(40) % 3
    files = [f"{'Bac'[label]}/{index}.png" for index, label in enumerate(labels)]
    arrays: dict[Any, Any] = {
        "train": (pictures[:30], labels[:30], files[:30]),
        "test": (pictures[30:], labels[30:], files[30:]),
    }
    own = server.settings.datasets  # tests must not write to the shared datasets folder
    own.unlink()
    own.mkdir()
    write_dataset(own, "photos", arrays=arrays, classes=["B", "a", "c"], source="test")
    server.start("web")
    page.goto(f"{server.url}/datasets/photos")
    expect(page.locator("[data-count=duplicates]")).to_have_text("exact duplicates · 1", timeout=30_000)
    expect(page.locator("[data-count=conflicts]")).to_have_text("label conflicts · 1")
    expect(page.locator("svg.mean")).to_have_count(3)

    page.locator("select[name=sort]").select_option("brightest")
    expect(page).to_have_url(re.compile("sort=brightest"))
    expect(page.locator(".grid img").first).to_have_attribute("src", re.compile("/train/29.png"))
    expect(page.locator(".balance a")).to_have_text(["a", "B", "c"])
    expect(page.locator("[data-validation]")).to_contain_text("holds out 10% of train (3 images)")
    page.locator(".balance a", has_text="a").click()
    expect(page.locator(".grid figure")).to_have_count(10)
    expect(page).to_have_url(re.compile("class=1&sort=brightest"))

    page.wait_for_load_state("load")
    enlarge(page)
    page.locator("[data-count=conflicts]").click()
    group = page.locator("[data-group]")
    expect(group).to_have_count(1)
    expect(group.locator("img")).to_have_count(2)
    expect(group).to_contain_text("different labels")
    expect(group).to_contain_text("B/3.png")
    for path in ("?sort=x", "?view=x", "?class=-1", "?page=0"):
        assert page.request.get(f"{server.url}/datasets/photos{path}").status == 422
    assert page.request.get(f"{server.url}/datasets/photos?split=x").status == 404
    assert page.request.get(f"{server.url}/api/datasets/none/statistics").status == 404


def enlarge(page: Page) -> None:
    """The name of an image's file is shown on focus; the image is enlarged, with its neighbors by the arrow keys."""
    first, second = page.locator("[data-image]").nth(0), page.locator("[data-image]").nth(1)
    caption = page.locator(".grid figcaption").first
    expect(caption.locator(".mono")).to_be_hidden()
    first.focus()
    expect(caption).to_contain_text("a/28.png")
    expect(caption.locator(".mono")).to_be_visible()
    page.keyboard.press("Enter")
    dialog = page.get_by_role("dialog", name="a", exact=True)
    image = dialog.locator("img")
    expect(image).to_have_attribute("width", "640")
    assert image.evaluate("node => getComputedStyle(node).imageRendering") == "pixelated"
    expect(dialog.get_by_role("button", name="Previous")).to_be_disabled()
    page.keyboard.press("ArrowRight")
    expect(image).to_have_attribute("src", re.compile("/train/25.png"))
    expect(dialog.locator("[data-file]")).to_have_text("a/25.png")
    page.keyboard.press("Escape")
    expect(dialog).to_be_hidden()
    expect(second).to_be_focused()
