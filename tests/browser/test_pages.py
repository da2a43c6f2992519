"""The pages in a real browser: two widths, two themes, with and without JavaScript, with mouse and keyboard."""

from __future__ import annotations

import re
import zipfile
from io import BytesIO

import pytest
from PIL import Image
from playwright.sync_api import Browser, Page, expect

from tests.browser.conftest import zoom
from tests.conftest import ENDLESS, NARROW, Server, wait_for


@pytest.fixture
def web(server: Server) -> Server:
    server.start("web")
    return server


def test_the_form_launches_and_explains_without_a_script(web: Server, browser: Browser) -> None:
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(f"{web.url}/runs/new")
    page.locator("input[name=preset][value=baseline-cnn]").check(force=True)
    page.locator("input[name='optimizer.lr']").fill("-1")
    page.locator("input[name=epochs]").fill("soon")
    page.locator("[data-launch-button]").click()
    expect(page.locator("[data-error-for='optimizer.lr']")).to_contain_text("greater than 0")
    expect(page.locator("[data-error-for='epochs']")).to_contain_text("whole number")
    expect(page.locator("input[name=epochs]")).to_have_value("soon")

    page.locator("input[name='optimizer.lr']").fill("3e-4")
    page.locator("input[name=epochs]").fill("7")
    page.locator("input[name=expectation]").fill("about a third")
    page.locator("[data-launch-button]").click()
    page.wait_for_url("**/runs/*")
    run = web.run(page.url.rsplit("/", 1)[-1])
    assert (run["spec"]["epochs"], run["spec"]["optimizer"]["lr"]) == (7, 3e-4)
    assert {item["field"] for item in run["changed"]} == {"epochs", "optimizer.lr"}
    assert run["expectation"] == "about a third"
    expect(page.locator("[data-expected]")).to_contain_text("about a third")

    page.locator("[data-stop]").click()
    expect(page.locator("[data-run-status]")).to_have_text("stopped")
    page.locator("[data-clone]").click()
    expect(page.locator("input[name='optimizer.lr']")).to_have_value("3e-4")
    page.locator("input[name='optimizer.lr']").fill("1e-4")
    page.locator("[data-launch-button]").click()
    page.wait_for_url("**/runs/*")
    clone = web.run(page.url.rsplit("/", 1)[-1])
    assert clone["parent"] == run["id"]
    assert {item["field"]: item["from"] for item in clone["changed"]} == {"epochs": 100, "optimizer.lr": 1e-3}
    context.close()


def test_the_launch_form_shows_what_a_choice_means(web: Server, page: Page) -> None:
    page.goto(f"{web.url}/runs/new")
    rate = page.locator("input[name='optimizer.lr']")
    expect(rate).to_have_attribute("placeholder", "0.08")
    expect(page.locator("[data-rate-end]")).to_have_text("10 minutes")
    page.locator("label:has(input[value=baseline-cnn])").click()
    expect(rate).to_have_attribute("placeholder", "1e-3")
    page.locator("details.more-cards summary").click()
    page.locator("label:has(input[value=baseline-cnn-lr1e-4])").click()
    expect(rate).to_have_attribute("placeholder", "1e-4")
    rate.press("ArrowUp")
    expect(rate).to_have_value("2e-4")
    rate.press("ArrowUp")
    expect(rate).to_have_value("5e-4")
    expect(page.locator("[data-changes]")).to_contain_text("1e-4 → 5e-4")
    expect(page.locator("[data-name]")).to_have_attribute("placeholder", "baseline-cnn lr5e-4")
    page.locator("input[name=epochs]").fill("2")
    expect(page.locator("[data-preview=total_steps]")).to_have_text("112")
    assert (page.locator("[data-rate-path]").get_attribute("d") or "").startswith("M0.0")
    page.locator("input[name=epochs]").fill("0")
    expect(page.locator("[data-error-for='epochs']")).to_have_text("must be at least 1")
    expect(page.locator("[data-preview=total_steps]")).to_be_hidden()  # a number of other settings


def test_a_run_is_wound_down_and_shows_how_an_extension_would_go(server: Server, page: Page) -> None:
    server.start("web")
    run_id = server.launch(overrides={**NARROW, **ENDLESS, "log_every": 4})
    page.goto(f"{server.url}/runs/{run_id}")
    waits = page.get_by_text("Waiting in the queue")
    expect(waits).to_be_visible()
    server.start("worker")
    server.wait_step(run_id, 20)
    expect(waits).to_be_hidden()
    page.get_by_label("Other ways to stop").click()
    page.locator("[data-wind-down]").click()
    expect(page.locator("[data-run-status]")).to_have_text("finished", timeout=90_000)
    more = page.locator("[data-more] summary")
    more.click()
    page.get_by_role("button", name="Extend…").click()
    expect(page.locator("input[name=extend_epochs]")).to_be_focused()
    page.keyboard.press("Escape")
    expect(more).to_be_focused()
    more.click()
    page.get_by_role("button", name="Extend…").click()
    curve = page.locator("[data-extension] path")
    expect(curve).to_have_attribute("d", re.compile("^M0.0"))
    flat = curve.get_attribute("d") or ""
    page.locator("select[name=schedule]").select_option("cosine")
    expect(curve).not_to_have_attribute("d", flat)
    page.locator("input[name=extend_epochs]").fill("1")
    page.locator("[data-dialog=extend] input[name=lr]").fill("fast")
    page.locator("[data-extend]").click()
    expect(page.locator("[data-dialog=extend] [data-dialog-error]")).to_be_visible()
    page.locator("[data-dialog=extend] input[name=lr]").fill("")
    page.locator("[data-extend]").click()
    expect(page.locator("[data-dialog=extend]")).to_be_hidden()
    wait_for(lambda: server.run(run_id)["attempt"] == 2, what="the second attempt")
    run = server.wait_status(run_id, "finished")
    assert run["total_steps"] == run["step"] < 400 * 56
    expect(page.locator("[data-run-status]")).to_have_text("finished")


def test_the_list_follows_without_a_reload(web: Server, page: Page) -> None:
    first = web.launch(name="first")
    page.goto(web.url)
    page.evaluate("window.neverReloaded = true")
    second = web.launch(name="second", overrides={"optimizer.lr": 1e-4})
    row = page.locator(f"tr[data-run='{second}']")
    expect(row).to_contain_text("lr 1e-3 → 1e-4")
    assert page.locator("tr[data-run]").last.get_attribute("data-run") == second  # in the order of the queue
    with web.client() as client:
        client.post(f"/api/runs/{first}/stop")
    expect(page.locator(f"tr[data-run='{first}'] [data-field=status]")).to_have_text("stopped")
    with web.client() as client:
        client.delete(f"/api/runs/{first}")
    expect(page.locator(f"tr[data-run='{first}']")).to_have_count(0)
    assert page.evaluate("window.neverReloaded") is True


def test_keyboard_and_theme(web: Server, page: Page) -> None:
    for name in ("one", "two"):
        web.launch(name=name)
    page.goto(web.url)
    page.keyboard.press("j")
    expect(page.locator("a.name").nth(0)).to_be_focused()
    page.keyboard.press("j")
    expect(page.locator("a.name").nth(1)).to_be_focused()
    page.keyboard.press("k")
    expect(page.locator("a.name").nth(0)).to_be_focused()
    page.keyboard.press("?")
    expect(page.locator("[data-help]")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.locator("[data-help]")).to_be_hidden()
    page.keyboard.press("/")
    expect(page.locator("[data-search]")).to_be_focused()
    page.keyboard.type("n one")
    assert page.url.rstrip("/") == web.url
    page.locator("[data-theme-toggle]").click()
    expect(page.locator("html")).to_have_attribute("data-theme", "dark")
    page.reload()
    expect(page.locator("html")).to_have_attribute("data-theme", "dark")
    page.locator("[data-theme-toggle]").click()
    assert page.locator("html").get_attribute("data-theme") is None
    page.keyboard.press("n")
    page.wait_for_url("**/runs/new")


def test_curves_hold_every_point_and_a_zoom_is_in_the_address(server: Server, page: Page) -> None:
    server.start("web", "worker")
    run_id = server.launch(overrides={**NARROW, "epochs": 1, "max_steps": 24})
    page.goto(f"{server.url}/runs/{run_id}")
    expect(page.locator("[data-run-status]")).to_have_text("finished", timeout=90_000)
    total = server.series(run_id, "train/loss")["train/loss"]["total"]
    loss = page.locator("[data-chart=loss]")
    expect(loss).to_have_attribute("data-points-train", str(total))
    expect(loss).to_have_attribute("data-points-val", "1")
    expect(loss).to_have_attribute("data-last-step", "24")
    loss.locator("summary", has_text="Table").click()
    expect(loss.locator("tbody tr")).to_have_count(total)
    expect(loss.locator("tbody tr").first.locator("td").first).to_have_text("24")

    zoom(page, loss.locator(".u-over"))
    expect(page).to_have_url(re.compile("zoom="))
    page.reload()
    expect(page.locator("[data-back-to-live]")).to_be_visible()
    page.locator("[data-back-to-live]").click()
    expect(page.locator("[data-back-to-live]")).to_be_hidden()
    expect(page).not_to_have_url(re.compile("zoom="))

    page.goto(f"{server.url}/runs/{run_id}?tab=setup")
    expect(page.locator("[data-copyable] pre")).to_contain_text("--set max_steps=24")
    file = page.locator("[data-checkpoint-file]").first.get_attribute("href")
    assert page.request.get(f"{server.url}{file}").status == 200


def test_a_lost_connection_is_said_and_the_curve_goes_on_after_it(server: Server, page: Page) -> None:
    server.start("web", "worker")
    run_id = server.launch(overrides=ENDLESS)
    page.goto(f"{server.url}/runs/{run_id}")
    loss = page.locator("[data-chart=loss]")

    def last() -> int:
        return int(loss.get_attribute("data-last-step") or -1)

    wait_for(lambda: last() > 0, 60, "the first point")
    server.kill("web")
    expect(page.locator("[data-connection]")).to_be_visible(timeout=15_000)
    reached = last()
    server.start("web")
    wait_for(lambda: last() > reached, 60, "a point after the reconnection")
    expect(page.locator("[data-connection]")).to_be_hidden()
    page.locator("[data-stop]").click()
    expect(page.locator("[data-run-status]")).to_have_text("stopped", timeout=30_000)
    stored = server.series(run_id, "train/loss")["train/loss"]
    wait_for(lambda: last() == stored["step"][-1], 10, "the last point")
    assert int(loss.get_attribute("data-points-train") or 0) == stored["total"]


def test_a_failed_run_says_why_above_its_curves(server: Server, page: Page) -> None:
    server.start("web", "worker")
    run_id = server.launch(preset="baseline-mlp", overrides={"optimizer.name": "sgd", "optimizer.lr": 10})
    page.goto(f"{server.url}/runs/{run_id}")
    expect(page.locator("[data-run-status]")).to_have_text("failed", timeout=90_000)
    expect(page.locator("[data-failure]")).to_be_visible()
    expect(page.locator("[data-failure-message]")).to_contain_text("learning rate")
    for _ in range(2):  # as it happens, and as the page is opened
        expect(page.locator("[data-run-status]")).to_have_text("failed")
        expect(page.locator("[data-resume]").first).to_be_hidden()  # it would diverge again
        expect(page.locator("[data-clone]")).to_be_visible()
        expect(page.locator("[data-stop]")).to_be_hidden()
        page.reload()


def test_a_zip_is_added_live_and_its_bad_files_are_named(server: Server, page: Page) -> None:
    own = server.settings.datasets  # tests must not write to the shared datasets folder
    own.unlink()
    own.mkdir()
    server.start("web", "worker")
    page.goto(f"{server.url}/datasets")
    name = f"dots-{server.settings.port}"
    send(page, name, zip_of(broken="red/broken.png"))
    expect(page.locator("[data-task-status=failed]")).to_contain_text("red/broken.png", timeout=60_000)
    send(page, name, zip_of())
    expect(page.locator("[data-task-status=finished] a")).to_have_attribute("href", f"/datasets/{name}", timeout=60_000)
    expect(page.locator("[data-cards] article h2", has_text=name)).to_be_visible()
    page.goto(f"{server.url}/datasets/{name}")
    expect(page.locator(".grid img").first).to_have_js_property("complete", True)
    wait_for(lambda: page.locator(".grid img").first.evaluate("image => image.naturalWidth") == 32, 10, "the image")


def send(page: Page, name: str, archive: bytes) -> None:
    page.locator("[data-zip]").set_input_files({"name": "dots.zip", "mimeType": "application/zip", "buffer": archive})
    page.locator("[data-upload] input[name=name]").fill(name)
    page.locator("[data-upload] input[name=size]").fill("32")
    page.locator("[data-upload] [data-add]").click()


def zip_of(broken: str | None = None) -> bytes:
    buffer = BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for label, color in (("red", (200, 0, 0)), ("blue", (0, 0, 200))):
            for index in range(6):
                picture = BytesIO()
                Image.new("RGB", (40, 30), (*color[:1], index * 10, color[2])).save(picture, "PNG")
                archive.writestr(f"{label}/{index}.png", picture.getvalue())
        if broken:
            archive.writestr(broken, b"\x89PNG\r\n\x1a\n not a picture")
    return buffer.getvalue()


def test_ticked_rows_are_acted_on_together_and_the_queue_is_moved(web: Server, page: Page) -> None:
    ids = {name: web.launch(name=name) for name in "abc"}
    page.goto(web.url)
    bar = page.locator("[data-bulk]")
    expect(bar).to_be_hidden()
    page.get_by_label("select a", exact=True).check()
    page.locator("a.name", has_text=re.compile("^b$")).focus()
    page.keyboard.press("x")
    expect(bar).to_contain_text("2 selected")
    ticked = {ids["a"], ids["b"]}
    compared = bar.locator("[data-bulk-compare]").get_attribute("href") or ""
    assert set(compared.removeprefix("/compare?runs=").split(",")) == ticked
    bar.get_by_role("button", name="Tag…").click()
    page.get_by_label("Tag", exact=True).fill("pair")
    page.keyboard.press("Enter")
    expect(page.locator(".cell-tags", has_text="pair")).to_have_count(2)
    assert [web.run(ids[name])["tags"] for name in "abc"] == [["pair"], ["pair"], []]

    page.get_by_label("run next: c").click()
    wait_for(lambda: web.waiting() == ["c", "a", "b"], what="c before all others")
    page.get_by_label("one later: c").click()
    wait_for(lambda: web.waiting() == ["a", "c", "b"], what="c after a")

    page.locator("thead a", has_text="Name").click()
    expect(page.locator("th", has_text="Name")).to_have_attribute("aria-sort", "ascending")
    expect(page.locator("a.name")).to_have_text(["a", "b", "c"])
    page.get_by_label("select all on this page").check()
    page.locator("[data-bulk-action=stop]").click()
    expect(page.locator("tr[data-run-status=stopped]")).to_have_count(3)
    page.get_by_label("select all on this page").check()
    page.locator("[data-bulk-action=delete]").click()
    expect(page.locator("tr[data-run]:visible")).to_have_count(0)
    assert web.run(ids["a"])["status"] == "stopped"
    page.get_by_role("button", name="Undo").last.click()
    expect(page.locator("tr[data-run]:visible")).to_have_count(3)
    page.get_by_label("select a", exact=True).check()
    page.locator("[data-bulk-action=delete]").click()
    page.get_by_role("button", name="Close").last.click()
    expect(page.locator("tr[data-run]")).to_have_count(2)
    with web.client() as client:
        assert [run["name"] for run in client.get("/api/runs?sort=name").json()["items"]] == ["b", "c"]


def test_several_values_launch_a_group(web: Server, page: Page) -> None:
    page.goto(f"{web.url}/runs/new")
    page.locator("label:has(input[value=baseline-cnn])").click()
    page.locator("input[name=epochs]").fill("1")
    draw = page.locator("input[name=draw]")
    expect(draw).to_be_hidden()
    page.locator("input[name=seed]").fill("0, 1")
    page.locator("input[name='optimizer.lr']").fill("1e-4..1e-2")
    expect(page.locator("[data-error-for='optimizer.lr']")).to_contain_text("number of random samples")
    draw.fill("3")
    expect(page.locator("[data-launch-button]")).to_have_text("Launch 3 runs")
    page.locator("[data-launch-button]").click()
    expect(page).to_have_url(re.compile("group=baseline-cnn"))
    expect(page.locator("tr[data-run]")).to_have_count(3)
    with web.client() as client:
        runs = client.get("/api/runs").json()["items"]
    assert len({run["group"] for run in runs}) == 1
    assert all(1e-4 <= run["spec"]["optimizer"]["lr"] <= 1e-2 and run["spec"]["seed"] in (0, 1) for run in runs)

    page.goto(f"{web.url}/runs/new")
    page.locator("button[name=smoke]").click()
    page.wait_for_url("**/runs/*")
    smoke = web.run(page.url.rsplit("/", 1)[-1])
    assert (smoke["tags"], smoke["spec"]["max_steps"]) == (["smoke"], 20)
