"""ARCHITECTURE.md names files that exist, and its two walks visit no module twice."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "ARCHITECTURE.md").read_text()
FILE = re.compile(r"`((?:app|trainer|client|static|templates|tests)/[\w./]+\.(?:py|js|css|html|toml))`")
FOLDER = re.compile(r"`((?:app|trainer|client|static|templates|tests)/[\w/]+/?)`")


def test_every_file_and_folder_exists() -> None:
    files, folders = FILE.findall(TEXT), FOLDER.findall(TEXT)
    assert len(files) > 30
    assert [name for name in files if not (ROOT / name).is_file()] == []
    assert [name for name in folders if not (ROOT / name).is_dir()] == []


@pytest.mark.parametrize("title", ["A loss value", "An upload to Predict"])
def test_a_walk_never_returns_to_a_module(title: str) -> None:
    section = TEXT.split(f"## {title}")[1].split("\n## ")[0]
    modules = FILE.findall(section)
    assert len(modules) >= 8
    assert len(set(modules)) == len(modules)


def test_it_is_one_page() -> None:
    assert len(TEXT.splitlines()) <= 130
