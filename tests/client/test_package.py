"""The client's package: what it may use, and where it is described."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from app.settings import CLIENT as CLIENT_VARIABLES
from tests.client.conftest import CLIENT

ROOT = CLIENT.parent
MODULES = sorted((CLIENT / "trackside").rglob("*.py"))


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.stem)
def test_python_3_9_can_read_it(path: Path) -> None:
    ast.parse(path.read_text(), feature_version=(3, 9))


def test_it_loads_nothing_but_the_standard_library() -> None:
    code = (
        "import sys; before = set(sys.modules); import trackside, trackside.watching, trackside.syncing, "
        "trackside.run_commands, trackside.importing; "
        "print(*{name.partition('.')[0] for name in set(sys.modules) - before} - sys.stdlib_module_names)"
    )
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", f"import sys; sys.path.append({str(CLIENT)!r}); {code}"],
        check=True, capture_output=True, text=True,
    )  # fmt: skip
    assert done.stdout.split() == ["trackside"]


def test_every_variable_is_described() -> None:
    guide = (ROOT / "docs" / "scripts.md").read_text()
    internal = {"TRACKSIDE_WATCH"}
    used = {
        node.value
        for path in MODULES
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value.isupper()
        if node.value.startswith("TRACKSIDE_") and node.value.replace("_", "").isalpha()
    }
    assert {name for name in used - internal if name not in guide} == set()
    assert used == CLIENT_VARIABLES
