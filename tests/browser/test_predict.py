"""The Predict page: bars, the occlusion map, two models side by side, and an alias that is reassigned meanwhile."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import FilePayload, Page, Route, expect

from app.storage.db import Database
from app.storage.tables import Checkpoint, Run, Status, now
from app.supervisor import free_port
from tests.app.predictor.predict_home import encode, make_dataset, make_run, random_image
from tests.conftest import Server
from tests.databases import settings_of
from trainer.data.fit import read_image
from trainer.inference.ensemble import open_runs
from trainer.rundir.spec import read_spec

ONE, OTHER = "0e00000000", "07e4000000"
DROP = """([name, bytes]) => {
  const files = new DataTransfer();
  files.items.add(new File([new Uint8Array(bytes)], name, { type: "image/png" }));
  document.querySelector("[data-drop]").dispatchEvent(new DragEvent("drop", { dataTransfer: files, bubbles: true }));
}"""


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Server]:
    make_dataset(tmp_path)
    make_run(tmp_path, ONE, steps=(10,))
    make_run(tmp_path, OTHER, steps=(20,))
    settings = settings_of(tmp_path, port=free_port("127.0.0.1"))
    database = Database(settings.url)
    database.migrate()
    with database.write() as session:
        for run_id, step in ((ONE, 10), (OTHER, 20)):
            spec = read_spec(settings.runs / run_id).model_dump(mode="json")
            run = Run(
                id=run_id, name=f"run at {step}", dataset="tiny", model="cnn", spec=spec, status=Status.FINISHED,
                best_step=step, best_acc=0.5, finished_at=now(),
            )  # fmt: skip
            session.add(run)
            session.flush()
            session.add(Checkpoint(run=run.key or 0, step=step, epoch=1, sha256="0" * 64, size=1, best=True))
    database.close()
    server = Server(tmp_path, settings)
    server.start("web", "predictor")
    yield server
    server.close()


def test_see_why_compare_and_move_the_name(home: Server, page: Page) -> None:
    image = differing(home)
    with home.client() as client:
        assert client.put("/api/models/production", json={"run": ONE}).status_code == 200
    page.goto(f"{home.url}/predict?model=production")
    page.get_by_label("Keep recent predictions").check()
    held: list[Route] = []
    page.route("**/api/predict/saliency**", lambda route: held.append(route))
    page.evaluate(DROP, ["picture.png", list(image)])
    bars = page.locator("[data-predictions] li")
    expect(bars).to_have_count(5, timeout=30_000)
    first = top_of(home, ONE, image)
    expect(page.locator("[data-top-label]")).to_have_text(first)
    waits = page.get_by_text("Computing the occlusion map")
    expect(waits).to_be_visible()
    held.pop().continue_()
    page.unroute("**/api/predict/saliency**")
    figure = page.locator("[data-saliency]")
    expect(figure.locator("[data-saliency-title]")).to_have_text(f"Occlusion map for {first}")
    expect(waits).to_be_hidden()
    assert figure.locator("canvas").evaluate(COLORED_PIXELS) > 100
    expect(bars.first.get_by_role("button")).to_have_attribute("aria-pressed", "true")
    second = bars.nth(1).locator("[data-label]").inner_text()
    bars.nth(1).get_by_role("button").click()
    expect(figure.locator("[data-saliency-title]")).to_have_text(f"Occlusion map for {second}")
    expect(bars.nth(1).get_by_role("button")).to_have_attribute("aria-pressed", "true")
    expect(bars.first.get_by_role("button")).to_have_attribute("aria-pressed", "false")

    # The alias is reassigned: the open page and its URL use the new run.
    with home.client() as client:
        assert client.put("/api/models/production", json={"run": OTHER}).status_code == 200
    shape: FilePayload = {"name": "again.png", "mimeType": "image/png", "buffer": image}
    page.locator("input[data-predict-file]").set_input_files(shape)
    moved = top_of(home, OTHER, image)
    expect(page.locator("[data-top-label]")).to_have_text(moved)
    expect(page.locator("[data-answer-moved]")).to_contain_text(
        f"production has moved since this page was opened: it was run {OTHER}"
    )
    expect(figure.locator("[data-saliency-title]")).to_have_text(f"Occlusion map for {moved}")
    page.reload()
    expect(page.locator("[data-panel]")).to_have_attribute("data-run", OTHER)

    kept = page.locator("[data-recent] li")
    expect(kept).to_have_count(2)
    expect(kept.first).to_contain_text(f"{moved} ")
    page.get_by_role("button", name="Clear").click()
    expect(kept).to_have_count(0)

    # A second model, selected on the page.
    page.get_by_label("Compare with").select_option(ONE)
    page.wait_for_url(f"**/predict?model=production&beside={ONE}")
    page.locator("input[data-predict-file]").set_input_files(shape)
    expect(page.locator("[data-top-label]")).to_have_text([moved, first])
    expect(page.locator("[data-verdict]")).to_contain_text(f"They differ: production says {moved}")
    titles = page.locator("[data-saliency-title]")
    expect(titles).to_have_text([f"Occlusion map for {moved}", f"Occlusion map for {first}"])
    left, right = (page.locator("[data-panel]").nth(at).bounding_box() for at in (0, 1))
    assert left
    assert right
    assert left["y"] == right["y"]
    assert left["x"] + left["width"] < right["x"]
    serious = [item for item in Axe().run(page).response["violations"] if item["impact"] in ("serious", "critical")]
    assert serious == []
    page.set_viewport_size({"width": 390, "height": 844})
    above, below = (page.locator("[data-panel]").nth(at).bounding_box() for at in (0, 1))
    assert above
    assert below
    assert above["x"] == below["x"]
    assert above["y"] + above["height"] < below["y"]
    assert page.evaluate("document.documentElement.scrollWidth") == 390


# Counts the colored pixels of the map; the image below it is gray.
COLORED_PIXELS = """canvas => {
  const pixels = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data;
  let count = 0;
  for (let i = 0; i < pixels.length; i += 4) {
    const [red, green, blue] = pixels.slice(i, i + 3);
    if (Math.max(red, green, blue) - Math.min(red, green, blue) > 40) count++;
  }
  return count;
}"""


def differing(home: Server) -> bytes:
    """Return an image that the two runs classify differently."""
    for seed in range(50):
        image = encode(random_image(seed))
        if top_of(home, ONE, image) != top_of(home, OTHER, image):
            return image
    raise AssertionError("the two agree on everything")


def top_of(home: Server, run_id: str, image: bytes) -> str:
    classifier, record = open_runs([home.settings.runs / run_id], home.settings.datasets, torch.device("cpu"))
    return classifier.predict(read_image(image, record.size, record.fit)[None], 1)[0][0].label


def test_the_answer_is_in_view_on_a_phone(home: Server, page: Page) -> None:
    page.set_viewport_size({"width": 390, "height": 700})
    page.goto(f"{home.url}/predict?model={ONE}")
    answer = page.locator("[data-answer]")
    expect(answer).not_to_be_in_viewport(ratio=0.9)
    page.locator("input[data-predict-file]").set_input_files(
        {"name": "a.png", "mimeType": "image/png", "buffer": encode(random_image(0))}
    )
    expect(page.locator("[data-predictions] li")).to_have_count(5, timeout=30_000)
    expect(answer).to_be_in_viewport(ratio=0.9)
