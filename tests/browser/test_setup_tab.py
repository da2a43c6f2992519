"""The Setup tab: a run is renamed and described there, and other pages follow."""

from __future__ import annotations

from playwright.sync_api import Page, expect

from tests.conftest import Server

NOTES = "**Bold** idea\n\n- first\n- [source](https://example.org)\n\n<script>document.title = 'owned'</script>"


def test_names_and_notes_are_saved_and_reach_other_tabs(server: Server, page: Page) -> None:
    server.start("web")
    run_id = server.launch(name="before")
    page.goto(f"{server.url}/runs/{run_id}")
    other = page.context.new_page()
    other.goto(f"{server.url}/runs/{run_id}")
    other.get_by_label("More", exact=True).click()
    other.get_by_role("link", name="Rename, tags, notes…").click()
    name = other.get_by_label("Name", exact=True)
    expect(name).to_be_focused()
    name.fill("after")
    other.get_by_label("Tags, separated by commas").fill("one, two")
    other.get_by_label("Hypothesis").fill("about 40%")
    other.get_by_label("Notes (Markdown)").fill(NOTES)
    other.get_by_role("button", name="Save", exact=True).click()
    expect(other.locator("[data-toasts]")).to_have_text("Saved")
    expect(page.locator("h1")).to_have_text("after")
    expect(page).to_have_title("after")

    expect(other.get_by_role("link", name="two")).to_have_attribute("href", "/?tag=two")
    expect(other.locator("[data-hypothesis]")).to_have_text("Hypothesis about 40%")
    notes = other.locator("[data-notes]")
    expect(notes.locator("strong")).to_have_text("Bold")
    expect(notes.locator("li")).to_have_count(2)
    expect(notes).to_contain_text("<script>")
    assert other.title() != "owned"
    assert server.run(run_id)["tags"] == ["one", "two"]
    expect(other.locator(".spec-part", has_text="Thresholds").locator("table")).to_be_hidden()
    expect(other.locator(".spec-part", has_text="Optimizer").locator("table")).to_be_visible()


def test_a_clone_names_the_run_that_it_was_cloned_from(server: Server, page: Page) -> None:
    server.start("web")
    parent = server.launch(name="the first", overrides={"epochs": 3})
    with server.client() as client:
        clone = client.post(f"/api/runs/{parent}/clone", json={"overrides": {"optimizer.lr": 1e-4}}).json()["id"]
        page.goto(f"{server.url}/runs/{clone}?tab=setup")
        expect(page.locator(".head")).to_contain_text("clone of the first")
        from_preset, from_parent = (page.locator(f"[data-changed={base}]") for base in ("preset", "parent"))
        expect(from_preset.locator("h2")).to_have_text("Changed from the preset baseline-cnn")
        expect(from_preset.locator("tbody tr")).to_have_text(["Learning rate1e-31e-4", "Epochs1003"])
        expect(from_parent.locator("h2")).to_have_text("Changed from the first")
        expect(from_parent.locator("tbody tr")).to_have_text(["Learning rate1e-31e-4"])
        client.delete(f"/api/runs/{parent}").raise_for_status()
    page.reload()
    expect(page.locator(".head")).to_contain_text("clone of a deleted run")
