"""The user's workflow, from launching a run to classifying an image, in a real browser with real processes."""

from __future__ import annotations

from io import BytesIO
from zipfile import ZipFile

import pytest
from PIL import Image
from playwright.sync_api import Page, expect

from tests.conftest import Server, wait_for
from trainer.data.format import open_split, read_record


def drawn(page: Page, chart: str = "loss") -> int:
    return int(page.locator(f"[data-chart={chart}]").get_attribute("data-points-train") or 0)


def painted(page: Page, chart: str = "loss") -> int:
    """Count the pixels of the chart's canvas that are not blank."""
    script = """canvas => {
      const pixels = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data;
      let count = 0;
      for (let i = 3; i < pixels.length; i += 4) if (pixels[i]) count++;
      return count;
    }"""
    return int(page.locator(f"[data-chart={chart}] canvas").first.evaluate(script))


def launch_in_form(server: Server, page: Page) -> str:
    """Launch a run of two epochs as a person does; return its id. The page is the run's then."""
    page.goto(f"{server.url}/runs/new")
    page.locator("input[name=dataset][value=shapes100]").check(force=True)
    page.locator("input[name=preset][value=baseline-cnn]").check(force=True)
    page.locator("input[name=epochs]").fill("2")
    page.locator("[data-launch-button]").click()
    page.wait_for_url("**/runs/*")
    return page.url.split("?")[0].rsplit("/", 1)[-1]


@pytest.mark.timeout(400)
def test_launch_watch_stop_resume_finish_and_classify(server: Server, page: Page) -> None:
    server.start("web", "worker", "predictor")
    run_id = launch_in_form(server, page)
    page.evaluate("window.neverReloaded = true")

    first = wait_for(lambda: drawn(page), 30, "the first drawn point")
    pixels = painted(page)
    assert pixels > 0
    later = wait_for(lambda: drawn(page) if drawn(page) > first + 3 else 0, 30, "a growing curve")
    assert later > first
    assert painted(page) != pixels
    assert page.evaluate("window.neverReloaded") is True

    page.locator("[data-stop]").first.click()
    expect(page.locator("[data-run-status]")).to_contain_text("stopped", timeout=30_000)
    stopped_at = server.run(run_id)["step"]
    assert 0 < stopped_at < server.run(run_id)["total_steps"]

    page.locator("[data-resume]").first.click()
    expect(page.locator("[data-run-status]")).to_contain_text("finished", timeout=180_000)
    run = server.run(run_id)
    assert run["step"] == run["total_steps"]
    assert run["attempt"] == 2
    assert 0 <= run["summary"]["test/acc"] <= 1

    record = read_record(server.settings.datasets, "shapes100")
    images, labels = open_split(server.settings.datasets, "shapes100", "train")
    row = confident_row(server, run_id)
    picture = BytesIO()
    Image.fromarray(images[row]).save(picture, "PNG")
    page.goto(f"{server.url}/predict?model={run_id}")
    page.locator("input[data-predict-file]").set_input_files(
        {"name": "shape.png", "mimeType": "image/png", "buffer": picture.getvalue()}
    )
    items = page.locator("[data-predictions] li")
    expect(items).to_have_count(5, timeout=30_000)
    shown = [items.nth(index).locator("[data-label]").inner_text() for index in range(5)]
    assert record.classes[int(labels[row])] in shown

    page.goto(f"{server.url}/runs/{run_id}")
    page.locator("[data-more] summary").click()
    page.get_by_role("button", name="Register as a model").click()
    page.get_by_label("Alias").fill("production")
    page.get_by_label("Alias").press("Enter")
    expect(page.locator("h1")).to_have_text("production")
    expect(page.locator("[data-history] tr")).to_have_count(1)
    expect(page.get_by_label("curl")).to_contain_text(f"{server.url}/api/predict?model=production")
    page.goto(f"{server.url}/predict?model=production")
    page.locator("[data-test-image]").first.click()
    expect(items).to_have_count(5, timeout=30_000)
    expect(page.locator("[data-copyable]")).to_contain_text("model=production")
    classify_many(page, picture.getvalue())


def classify_many(page: Page, picture: bytes) -> None:
    """On a model's page, upload a zip and download the CSV; both are still shown after a reload."""
    packed = BytesIO()
    with ZipFile(packed, "w") as archive:
        for name, data in (("a.png", picture), ("deep/b.png", picture), ("c.png", b"no image")):
            archive.writestr(name, data)
    many = page.locator("[data-batch]")
    for data in (b"no zip", packed.getvalue()):
        many.locator("input[type=file]").set_input_files(
            {"name": "shapes.zip", "mimeType": "application/zip", "buffer": data}
        )
        many.get_by_role("button", name="Classify").click()
        if data == b"no zip":
            expect(many.locator("[data-batch-note]")).to_contain_text("not a zip")
    done = many.locator("[data-task-status=finished]")
    expect(done).to_contain_text("3 images · 1 could not be read · model production", timeout=60_000)
    page.reload()
    with page.expect_download() as download:
        done.get_by_role("link", name="Download the CSV").click()
    rows = download.value.path().read_text().splitlines()
    assert [row.split(",")[0] for row in rows] == ["file", *["a.png"] * 5, *["deep/b.png"] * 5, "c.png"]


def confident_row(server: Server, run_id: str) -> int:
    """Return the row of an image whose class a network trained for a few seconds has in its top 5."""
    images, labels = open_split(server.settings.datasets, "shapes100", "train")
    record = read_record(server.settings.datasets, "shapes100")
    files = []
    rows = list(range(0, len(images), 67))
    for row in rows:
        buffer = BytesIO()
        Image.fromarray(images[row]).save(buffer, "PNG")
        files.append(("file", (f"{row}.png", buffer.getvalue(), "image/png")))
    with server.client() as client:
        answer = client.post("/api/predict", params={"model": run_id, "top_k": 5}, files=files)
    assert answer.status_code == 200, answer.text
    for row, result in zip(rows, answer.json()["results"], strict=True):
        if record.classes[int(labels[row])] in [item["label"] for item in result["predictions"]]:
            return row
    raise AssertionError("the network has learnt nothing")
