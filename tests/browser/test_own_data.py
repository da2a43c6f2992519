"""People's own data, from a manifest to a model that says "not sure", all in the browser."""

from __future__ import annotations

import io
import re
from pathlib import Path

import numpy as np
from PIL import Image
from playwright.sync_api import Page, expect

from tests.conftest import Server

SETTINGS = {"batch_size": "16", "epochs": "5", "checks": "off", "compile": "off"}
CLASSES = {"benign": (200, 90, 90), "malign": (90, 90, 200)}


def make_clinic(folder: Path, patients: int, seed: int) -> Path:
    """Six noisy images of each patient, three of each class; classes and patients are in metadata.csv."""
    draws, rows = np.random.default_rng(seed), ["file_name,label,patient"]
    folder.mkdir()
    for patient in range(patients):
        for number in range(6):
            shown = list(CLASSES)[number % 2]
            label = shown if draws.random() < 0.75 else list(CLASSES)[1 - number % 2]  # some labels are wrong
            pixels = draws.normal(CLASSES[shown], 40, (32, 32, 3)).clip(0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(folder / f"{patient}-{number}.png")
            rows.append(f"{patient}-{number}.png,{label},P{seed}-{patient}")
    (folder / "metadata.csv").write_text("\n".join(rows))
    return folder


def add_dataset(server: Server, page: Page, folder: Path) -> None:
    page.goto(f"{server.url}/datasets")
    page.locator("[data-folder]").set_input_files(folder)
    expect(page.locator("[data-stage-layout]")).to_contain_text("2 classes")
    page.get_by_label("Groups that are never parted").select_option("column:patient")
    expect(page.locator("[data-stage-layout]")).to_contain_text("groups, each in one split.")
    page.locator("[data-upload] [data-add]").click()
    done = page.locator(f"[data-task-status=finished] a[href='/datasets/{folder.name}']")
    expect(done).to_be_visible(timeout=60_000)


def test_from_a_manifest_to_a_model_that_is_not_sure(server: Server, page: Page, tmp_path: Path) -> None:
    own = server.settings.datasets
    own.unlink()
    own.mkdir()
    server.start("web", "worker", "predictor")
    add_dataset(server, page, make_clinic(tmp_path / "here", patients=40, seed=0))
    add_dataset(server, page, make_clinic(tmp_path / "elsewhere", patients=5, seed=1))

    page.goto(f"{server.url}/runs/new?dataset=here")
    page.locator("input[name=preset][value=resnet18]").check(force=True)
    page.locator("details[data-group]").evaluate_all("groups => groups.forEach((group) => { group.open = true; })")
    network = page.get_by_label("Network", exact=True)
    network.fill("timm:mobilenetv3_small_050")
    expect(page.locator("[data-network]")).to_contain_text("1.59 M parameters")
    page.locator("[name='model.weights']").fill("none")
    for name, value in SETTINGS.items():
        field = page.locator(f"[name='{name}']")
        (field.select_option if field.evaluate("field => field.tagName") == "SELECT" else field.fill)(value)
    page.locator("[data-launch-button]").click()
    page.wait_for_url("**/runs/*")
    expect(page.locator("[data-status]").first).to_contain_text("finished", timeout=90_000)
    run = re.search(r"/runs/(\w+)", page.url)
    assert run is not None
    with server.client() as client:
        found = client.get(f"/api/runs/{run[1]}").json()
        assert (found["dataset"], found["spec"]["model"]["name"]) == ("here", "timm:mobilenetv3_small_050")

    page.goto(f"{server.url}/models/{run[1]}")
    evaluate = page.locator("form[action='/evaluations']")
    evaluate.locator("select[name=dataset]").select_option("elsewhere")
    evaluate.get_by_role("button", name="Evaluate").click()
    page.wait_for_url("**/evaluations/*")
    expect(page.locator("main")).to_contain_text("elsewhere")
    expect(page.locator("main")).to_contain_text(re.compile(r"accuracy", re.IGNORECASE), timeout=60_000)
    expect(page.get_by_role("cell", name="malign", exact=True).first).to_be_visible()

    page.goto(f"{server.url}/models/{run[1]}")
    page.get_by_label("Threshold").fill("0.995")
    page.get_by_role("button", name="Set", exact=True).click()
    expect(page.locator("[data-now]")).to_contain_text("0.995")
    noise = io.BytesIO()
    Image.fromarray(np.full((32, 32, 3), (145, 90, 145), np.uint8)).save(noise, "png")
    page.goto(f"{server.url}/predict?model={run[1]}")
    page.locator("input[type=file]").first.set_input_files(
        {"name": "between.png", "mimeType": "image/png", "buffer": noise.getvalue()}
    )
    expect(page.locator("[data-answer-top]").first).to_be_visible(timeout=30_000)
    expect(page.locator("[data-unsure]").first).to_be_visible()
