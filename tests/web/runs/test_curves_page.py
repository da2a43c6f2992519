"""The page of a run's curves: its scripts are fetched at once, and it knows the run's series and attempts."""

from __future__ import annotations

import html
import re
from pathlib import Path

import httpx
import orjson

from tests.conftest import Server

SCRIPTS = Path(__file__).parents[3] / "static" / "js"
IMPORT = re.compile(r'(?:^import|^export .* from|^} from).*?"(\.[^"]+)";', re.M)


def imported(script: Path, found: set[Path]) -> set[Path]:
    """The scripts that `script` imports, directly or not, and itself."""
    if script not in found:
        found.add(script)
        for path in IMPORT.findall(script.read_text("utf-8")):
            imported((script.parent / path).resolve(), found)
    return found


def test_every_script_is_fetched_without_waiting_for_another(web: Server, api: httpx.Client) -> None:
    page = api.get(f"/runs/{web.launch()}").text
    preloaded = re.findall(r'<link rel="modulepreload" href="/static/js/([^"]+)"', page)
    needed = imported((SCRIPTS / "runs/curves.js").resolve(), set())
    assert sorted(preloaded) == sorted(path.relative_to(SCRIPTS).as_posix() for path in needed)
    logged = re.search(r'data-logged="([^"]+)"', page)
    assert logged is not None
    assert orjson.loads(html.unescape(logged[1])) == {"series": [], "attempts": []}
