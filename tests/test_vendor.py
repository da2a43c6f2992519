from __future__ import annotations

import gzip
import hashlib
from pathlib import Path

import orjson

STATIC = Path(__file__).parents[1] / "static"
VENDOR = STATIC / "vendor"
BUDGET = 150_000  # bytes, gzipped: of all pages together, though a page loads a part of it


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


def test_scripts_and_styles_are_light() -> None:
    """Counts everything that the dashboard's pages load, without Swagger UI, which only /docs loads."""
    files = [*STATIC.rglob("*.js"), *STATIC.rglob("*.css")]
    total = sum(len(gzip.compress(path.read_bytes())) for path in files if "swagger-ui" not in path.parts)
    assert total <= BUDGET
