"""Requests that fail: the page says so, and what was pressed can be pressed again."""

from __future__ import annotations

import re

from playwright.sync_api import Page, Route, expect

from tests.conftest import Server

UNREACHABLE = "The server could not be reached."


def test_a_button_can_be_pressed_again_when_the_server_was_not_reached(server: Server, page: Page) -> None:
    server.start("web")
    run_id = server.launch()
    server.launch()
    run, runs, launch = page, page.context.new_page(), page.context.new_page()
    run.goto(f"{server.url}/runs/{run_id}")
    runs.goto(server.url)
    launch.goto(f"{server.url}/runs/new")
    expect(launch.locator("[data-preview=total_steps]")).to_have_text(re.compile(r"\d"))
    runs.locator("[data-select]").first.check()
    server.kill("web")

    run.locator("[data-stop]").click()
    expect(run.locator("[data-toasts]")).to_contain_text(UNREACHABLE)
    expect(run.locator("[data-stop]")).to_be_enabled()

    for selector in ("[data-star]", "[data-move=down]", "[data-bulk-action=stop]"):
        runs.locator(selector).first.click()
        expect(runs.locator("[data-toasts]")).to_contain_text(UNREACHABLE)
        expect(runs.locator(selector).first).to_be_enabled()
        runs.locator(".toast").evaluate_all("nodes => nodes.forEach((node) => node.remove())")

    launch.locator("[name=epochs]").fill("3")
    expect(launch.locator("[data-preview-error]")).to_have_text(UNREACHABLE)
    expect(launch.locator("[data-launch-button]")).to_be_enabled()

    server.start("web")
    run.locator("[data-stop]").click()
    expect(run.locator("[data-run-status]")).to_have_text("stopped")


def test_an_answer_that_is_not_of_the_application_is_said(server: Server, page: Page) -> None:
    server.start("web")
    run_id = server.launch()

    def proxy(route: Route) -> None:  # a reverse proxy, whose application is away, answers in HTML
        route.fulfill(status=502, content_type="text/html", body="<h1>Bad Gateway</h1>")

    page.route("**/api/runs/*/stop", proxy)
    page.goto(f"{server.url}/runs/{run_id}")
    page.locator("[data-stop]").click()
    expect(page.locator("[data-toasts]")).to_contain_text("The server answered 502")
    expect(page.locator("[data-stop]")).to_be_enabled()


def test_a_number_with_a_decimal_comma_is_asked_about_while_it_is_typed(server: Server, page: Page) -> None:
    server.start("web")
    page.goto(f"{server.url}/runs/new")
    page.locator("[name='optimizer.lr']").fill("0,2")
    expect(page.locator("[data-error-for='optimizer.lr']")).to_contain_text("0.2, or two runs with 0 and 2?")
