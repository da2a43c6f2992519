from __future__ import annotations

import gzip
import hashlib
import re
from pathlib import Path

import orjson
import pytest

STATIC = Path(__file__).parents[1] / "static"
VENDOR = STATIC / "vendor"
TEMPLATES = STATIC.parent / "templates"
BUDGET = 150_000  # bytes, gzipped


def test_each_vendored_file_is_the_one_that_was_vetted() -> None:
    listed = set()
    for package in orjson.loads((VENDOR / "vendor.json").read_bytes()):
        assert package["version"]
        assert package["licence"]
        for name, digest in package["sha256"].items():
            path = VENDOR / package["name"] / name
            listed.add(path)
            assert hashlib.sha256(path.read_bytes()).hexdigest() == digest, path
    assert listed == {path for path in VENDOR.rglob("*") if path.is_file() and path.name != "vendor.json"}


@pytest.mark.parametrize(
    "template", sorted(TEMPLATES.glob("*/*.html")), ids=lambda path: f"{path.parent.name}/{path.name}"
)
def test_scripts_and_styles_of_a_page_are_light(template: Path) -> None:
    """Counts what a page and what all pages load, and of a run's page that of all of its tabs."""
    named = [*named_files(template), *named_files(TEMPLATES / "base.html"), *(STATIC / "css").glob("*.css")]
    loaded: set[Path] = set()
    waiting = list(named)
    while waiting:
        path = waiting.pop()
        if path not in loaded:
            loaded.add(path)
            waiting += imported(path)
    total = sum(len(gzip.compress(path.read_bytes())) for path in loaded if "swagger-ui" not in path.parts)
    assert total <= BUDGET


def named_files(template: Path) -> list[Path]:
    found = re.findall(r"/static/([\w./-]+\.(?:js|css))", template.read_text())
    return [path for name in found if (path := STATIC / name).is_file()]


def imported(script: Path) -> list[Path]:
    if script.suffix != ".js" or "vendor" in script.parts:
        return []
    found = re.findall(r'(?:from|import) "(\.[^"]+)"', script.read_text())
    paths = [(script.parent / name).resolve() for name in found]
    assert all(path.is_file() for path in paths), (script, paths)
    return paths
