"""`trackside datasets add` and `list`, run as a user runs them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.databases import home_environment
from tests.trainer.data.pictures import tree, write_tree
from trainer.data.format import read_record


def trackside(home: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "app.cli", "datasets", *arguments],
        env={**os.environ, **home_environment(home)},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


def test_what_was_left_out_is_said_and_sources_are_listed_without_control_characters(tmp_path: Path) -> None:
    home = tmp_path / "home"
    files = tree("cat", "dog", each=4) | {"cat/0.txt": b"0", "dog/1.txt": b"1", "dog/bad.png": b"x"}
    folder = write_tree(tmp_path / "pe\x1b[2Jts", files)
    added = trackside(home, "add", "pets", "--from", str(folder), "--on-unreadable", "skip")
    assert added.returncode == 0, added.stderr
    assert "Left out: 1 images that cannot be read." in added.stdout
    assert "Not imported: other files (2 .txt)." in added.stdout
    record = read_record(home / "datasets", "pets")
    assert record.source == "pe[2Jts"
    # As an older version stored the name of an upload.
    stored = home / "datasets" / "pets" / "dataset.json"
    stored.write_text(record.model_copy(update={"source": "a\x1b]0;title\x07.zip"}).model_dump_json())
    listed = trackside(home, "list").stdout
    assert "from a\\x1b]0;title\\x07.zip" in listed
    assert "\x1b" not in listed


@pytest.mark.parametrize(
    ("source", "message"), [("pipe.zip", "neither a folder nor a regular file"), ("none", "no folder or zip")]
)
def test_a_source_that_cannot_be_read_is_named_in_one_sentence(tmp_path: Path, source: str, message: str) -> None:
    os.mkfifo(tmp_path / "pipe.zip")
    refused = trackside(tmp_path / "home", "add", "x", "--from", str(tmp_path / source))
    assert refused.returncode == 1
    assert message in refused.stderr
    assert "Traceback" not in refused.stderr
