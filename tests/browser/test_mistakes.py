"""The Errors tab: the confusion matrix on the canvas, and the images of a selected cell."""

from __future__ import annotations

import re

import numpy as np
import safetensors.numpy
from playwright.sync_api import Page, expect

from tests.conftest import Server
from trainer.data.format import open_split

PREDICTED = 7  # the predicted class of every image of class 3


def test_from_the_matrix_to_the_images(server: Server, page: Page) -> None:
    server.start("web")
    run_id = server.launch()
    page.goto(f"{server.url}/runs/{run_id}?tab=errors")
    expect(page.locator("[data-errors]")).to_have_text("Predictions appear here after the first epoch.")

    _, labels = open_split(server.settings.datasets, "shapes100", "train")
    rows = np.arange(0, len(labels), 2)
    guess = np.where(labels[rows] == 3, PREDICTED, labels[rows])
    half = np.full(len(rows), 0.5, np.float16)
    tensors: dict[str, np.ndarray] = {
        "row": rows.astype(np.int32),
        "guess": guess.astype(np.int16),
        "own": half,
        "top": half,
    }
    folder = server.settings.runs / run_id / "artifacts" / "val"
    folder.mkdir()
    (folder / "00000056.safetensors").write_bytes(safetensors.numpy.save(tensors))
    wrong = int((labels[rows] == 3).sum())

    page.goto(f"{server.url}/runs/{run_id}?tab=errors")
    canvas = page.locator("[data-matrix] canvas")
    expect(canvas).to_have_attribute("data-drawn", "100")
    worst = page.locator(".class-list tbody tr").first
    expect(worst).to_contain_text("0%")
    color = "(at) => [...document.querySelector('canvas').getContext('2d').getImageData(...at, 1, 1).data].join()"
    order = page.request.get(f"{server.url}/api/runs/{run_id}/confusion").json()["order"]
    row, column = order.index(3), order.index(PREDICTED)
    side = 6.4
    empty, diagonal, mistaken = (
        page.evaluate(color, [int((x + 0.5) * side), int((y + 0.5) * side)])
        for y, x in ((50, 20), (50, 50), (row, column))
    )
    assert len({empty, diagonal, mistaken}) == 3

    canvas.focus()
    for key in ("ArrowRight", *["ArrowDown"] * row, *["ArrowRight"] * column):
        page.keyboard.press(key)
    expect(page.locator("[data-readout]")).to_contain_text(f": {wrong} of {wrong}")
    page.keyboard.press("Enter")
    expect(page).to_have_url(re.compile(f"cell=3%2C{PREDICTED}"))
    expect(page.locator("#cell img")).to_have_count(wrong)
    answer = page.request.get(f"{server.url}/api/runs/{run_id}/mistakes.csv")
    assert len(answer.text().splitlines()) == 1 + wrong
    for path in ("?tab=errors&step=57", "?tab=errors&cell=3,100"):
        assert page.request.get(f"{server.url}/runs/{run_id}{path}").status == 404
    assert page.request.get(f"{server.url}/runs/{run_id}?tab=errors&cell=x").status == 422
    assert page.request.get(f"{server.url}/api/runs/{run_id}/confusion?step=57").status == 404


def test_the_matrix_of_few_classes_is_labeled(server: Server, page: Page) -> None:
    server.start("web")
    run_id = server.launch(overrides={"target": "coarse"})
    rows = np.arange(40, dtype=np.int32)
    half = np.full(len(rows), 0.5, np.float16)
    tensors: dict[str, np.ndarray] = {"row": rows, "guess": (rows % 20).astype(np.int16), "own": half, "top": half}
    folder = server.settings.runs / run_id / "artifacts" / "val"
    folder.mkdir()
    (folder / "00000056.safetensors").write_bytes(safetensors.numpy.save(tensors))
    page.goto(f"{server.url}/runs/{run_id}?tab=errors")
    matrix = page.request.get(f"{server.url}/api/runs/{run_id}/confusion").json()
    names = [matrix["classes"][index] for index in matrix["order"]]
    expect(page.locator(".matrix-rows li")).to_have_text(names)
    expect(page.locator(".matrix-columns li")).to_have_text(names)
