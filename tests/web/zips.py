"""Valid and malicious zips of images, and an assertion that a request has left no files."""

from __future__ import annotations

import io
import stat
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from PIL import Image

from tests.conftest import Server


def picture(shade: int = 0) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (32, 32), (shade, 0, 0)).save(buffer, "PNG")
    return buffer.getvalue()


def archive(entries: dict[str, bytes], edit: Callable[[zipfile.ZipFile], None] | None = None) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        for name, data in entries.items():
            file.writestr(name, data)
        if edit is not None:
            edit(file)
    return buffer.getvalue()


GOOD = {f"{kind}/{index}.png": picture(index) for kind in ("ant", "bee") for index in range(4)}


def add_link(file: zipfile.ZipFile) -> None:
    entry = zipfile.ZipInfo("ant/link.png")
    entry.external_attr = (stat.S_IFLNK | 0o777) << 16
    file.writestr(entry, "/etc/passwd")


def add_bomb(file: zipfile.ZipFile) -> None:
    file.writestr("ant/bomb.png", b"\0" * (8 << 20), zipfile.ZIP_DEFLATED)


@contextmanager
def nothing_written(web: Server) -> Iterator[None]:
    def there() -> set[Path]:
        settings = web.settings
        return {*settings.tasks.rglob("*"), *settings.datasets.glob("*"), *settings.runs.glob("*")}

    before = there()
    yield
    assert there() == before
