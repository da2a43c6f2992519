"""Two nodes and a home, as a person uses them: launch, watch, lose a node, stop, predict."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.browser.test_line import drawn, launch_in_form
from tests.cluster.machines import CAN_ISOLATE, Network, network, serving
from tests.cluster.test_cluster import assert_each_step_once, wait_joined
from tests.conftest import ENDLESS, NARROW, Server, wait_for

pytest.importorskip("ray", reason="the extra trackside[cluster] is not installed")
pytestmark = [
    pytest.mark.long,
    pytest.mark.timeout(600),
    pytest.mark.skipif(not CAN_ISOLATE, reason="machines of one's own take Linux, root, unshare and ip"),
]


@pytest.fixture
def lan(server: Server, tmp_path: Path) -> Iterator[Network]:
    with network(tmp_path, server.home) as made, serving(server, made):
        for name in ("a", "b"):
            made.machine(name).join()
        wait_joined(server, "a/cpu", "b/cpu")
        yield made


def test_four_runs_on_two_nodes(server: Server, lan: Network, page: Page) -> None:
    first = launch_in_form(server, page)
    others = [server.launch(overrides={**NARROW, **ENDLESS, "checkpoint_minutes": 0.02}) for _ in range(2)]
    last = server.launch(overrides={**NARROW, "epochs": 1})

    # Watched live, without a reload; the page says where it trains.
    wait_for(lambda: drawn(page) > 3, 120, "a growing curve")
    expect(page.locator("[data-run-device]")).to_have_text(re.compile("^[ab]/cpu$"))
    expect(page.locator("[data-run-status]")).to_contain_text("finished", timeout=180_000)

    # Two train, one waits. The machine of one is gone: its run goes on where the other is stopped.
    for run_id in others:
        server.wait_step(run_id, 30, seconds=120)
    where = {run_id: server.run(run_id)["device"] for run_id in others}
    assert sorted(where.values()) == ["a/cpu", "b/cpu"]
    lost, stopped = others
    page.goto(f"{server.url}/runs/{lost}")
    lan.machines[where[lost].partition("/")[0]].kill()
    expect(page.locator("[data-run-status]")).to_contain_text("queued", timeout=120_000)
    page.goto(f"{server.url}/runs/{stopped}")
    page.locator("[data-stop]").first.click()
    expect(page.locator("[data-run-status]")).to_contain_text("stopped", timeout=60_000)
    page.goto(f"{server.url}/runs/{lost}")
    expect(page.locator("[data-run-device]")).to_have_text(where[stopped], timeout=120_000)
    step = server.run(lost)["step"]
    server.wait_step(lost, step + 20)
    page.locator("[data-stop]").first.click()
    expect(page.locator("[data-run-status]")).to_contain_text("stopped", timeout=60_000)
    for run_id in others:
        assert_each_step_once(server, run_id)
    server.wait_status(last, "finished", seconds=120)

    page.goto(f"{server.url}/predict?model={first}")
    page.locator("[data-test-image]").first.click()
    expect(page.locator("[data-predictions] li")).to_have_count(5, timeout=60_000)
    page.goto(f"{server.url}/system")
    expect(page.locator("[data-workers]")).to_contain_text(where[stopped])
