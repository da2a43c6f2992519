"""Run the tests of static/js/lib (tests/js) with the test runner of the Node that Playwright ships."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

from playwright._impl._driver import compute_driver_executable

JS_TESTS = Path(__file__).parent / "js"


def test_javascript_libraries() -> None:
    node, _ = compute_driver_executable()
    files = sorted(str(path) for path in JS_TESTS.glob("*.test.js"))
    assert files
    result = subprocess.run([node, "--test", *files], capture_output=True, text=True, check=False, timeout=100)
    assert result.returncode == 0, result.stdout[-8000:] + result.stderr[-2000:]
    assert "# fail 0" in result.stdout or "fail 0" in result.stdout


def test_requests_are_sent_in_one_place() -> None:
    """A rejected fetch that nobody handles leaves a button disabled, and says nothing."""
    scripts = Path(__file__).parents[1] / "static" / "js"
    sending = {
        path.relative_to(scripts).as_posix()
        for path in scripts.rglob("*.js")
        if re.search(r"\bfetch\(", path.read_text("utf-8"))
    }
    assert sending == {"shared/request.js"}
