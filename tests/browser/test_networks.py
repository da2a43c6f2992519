"""A network of timm is searched on the launch form, launched and trained."""

from __future__ import annotations

from playwright.sync_api import Page, expect

from tests.conftest import Server

SETTINGS = {"batch_size": "16", "max_steps": "3", "checks": "off", "compile": "off", "model.input_size": "32"}


def test_a_network_is_searched_described_and_trained(server: Server, page: Page) -> None:
    server.start("web", "worker")
    page.goto(f"{server.url}/runs/new")
    page.locator("input[name=preset][value=resnet18]").check(force=True)
    page.locator("summary", has_text="Network and loss").click()
    network = page.get_by_label("Network", exact=True)
    network.fill("mobilenetv3_small")
    expect(page.locator("#networks option[value='timm:mobilenetv3_small_050']")).to_have_count(1)
    expect(page.locator("[data-network]")).to_contain_text("networks found")
    network.fill("timm:mobilenetv3_small_050.lamb_in1k")
    expect(page.locator("[data-network]")).to_contain_text("1.59 M parameters")
    expect(page.locator("[name='model.weights']")).to_have_value("pretrained")
    network.fill("timm:mobilenetv3_small_05")
    expect(page.locator("[data-error-for='model.name']")).to_contain_text("did you mean mobilenetv3_small_0")
    network.fill("timm:mobilenetv3_small_050")
    page.locator("[name='model.weights']").fill("none")
    page.locator("details[data-group]").evaluate_all("groups => groups.forEach((group) => { group.open = true; })")
    for name, value in SETTINGS.items():
        field = page.locator(f"[name='{name}']")
        (field.select_option if field.evaluate("field => field.tagName") == "SELECT" else field.fill)(value)
    page.locator("[data-launch-button]").click()
    page.wait_for_url("**/runs/*")
    run = page.url.rsplit("/", 1)[1].partition("#")[0].partition("?")[0]
    assert server.wait_status(run, "finished")["spec"]["model"]["name"] == "timm:mobilenetv3_small_050"
