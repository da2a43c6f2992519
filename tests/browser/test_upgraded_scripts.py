"""After an upgrade, a browser that visited before runs the new scripts, also those that other scripts import."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import uvicorn
from playwright.sync_api import Page, expect
from starlette.applications import Starlette
from starlette.responses import HTMLResponse
from starlette.routing import Mount, Route

from app.supervisor import free_port
from app.web.assets import Assets
from tests.conftest import wait_for

PAGE = """<!doctype html><title>old</title><link rel="icon" href="data:,">
<link rel="stylesheet" href="/static/page.css">
<script type="module" src="/static/page.js"></script><p>shown</p>"""


@contextmanager
def served(folder: Path) -> Iterator[str]:
    port = free_port("127.0.0.1")
    routes = [Route("/", lambda _request: HTMLResponse(PAGE)), Mount("/static", Assets(directory=folder))]
    server = uvicorn.Server(uvicorn.Config(Starlette(routes=routes), port=port, log_level="warning"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    wait_for(lambda: server.started, what="the server")
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        thread.join(30)


def install(folder: Path, version: str, days_ago: int) -> None:
    files = {
        "page.js": 'import { version } from "./part.js"; document.title = version;',
        "part.js": f'export const version = "{version}";',
        "page.css": f"p::after {{ content: '{version}'; }}",
    }
    for name, text in files.items():
        (folder / name).write_text(text)
        moment = time.time() - 24 * 3600 * days_ago
        os.utime(folder / name, (moment, moment))


def test_a_browser_that_visited_before_runs_the_new_scripts(tmp_path: Path, page: Page) -> None:
    install(tmp_path, "1.0", days_ago=60)  # without Cache-Control, a browser would keep them for six days
    with served(tmp_path) as address:
        for version in ("1.0", "2.0"):
            install(tmp_path, version, days_ago=60 if version == "1.0" else 50)
            page.goto(address)
            expect(page).to_have_title(version)
            after = page.locator("p").evaluate("node => getComputedStyle(node, '::after').content")
            assert after == f'"{version}"'
