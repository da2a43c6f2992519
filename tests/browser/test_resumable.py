"""A large zip is sent in chunks: the page goes on by itself after the server was killed."""

from __future__ import annotations

import random
import signal
from pathlib import Path

from playwright.sync_api import Page, expect

from tests.conftest import Server, wait_for
from tests.web.zips import GOOD, archive

CHUNK = 8 << 20


def test_an_upload_goes_on_where_it_was(server: Server, page: Page, tmp_path: Path) -> None:
    zipped = tmp_path / "birds.zip"
    zipped.write_bytes(archive({**GOOD, "notes.bin": random.Random(0).randbytes(3 * CHUNK)}))
    own = server.settings.datasets  # a link to the datasets of other tests
    own.unlink()
    own.mkdir()
    server.start("web", "worker")
    page.goto(f"{server.url}/datasets")
    page.locator("[data-zip]").set_input_files(zipped)
    page.locator("[data-upload] [data-add]").click()
    kept = server.settings.uploads / "kept"
    wait_for(lambda: any(part.stat().st_size >= CHUNK for part in kept.glob("*.part")), what="the first chunk")
    server.stop("web", signal.SIGKILL)
    expect(page.locator("[data-upload] [data-upload-note]")).to_contain_text("the upload continues")
    server.start("web")
    expect(page.locator("[data-cards] h2")).to_have_text(["birds"], timeout=60_000)
    assert not list(kept.iterdir())
