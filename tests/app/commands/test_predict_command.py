"""`trackside predict` as a person meets it."""

from __future__ import annotations

import csv
import os
import pty
import signal
import subprocess
import sys
import zipfile
from pathlib import Path

import orjson
import psutil
import pytest
from typer.testing import CliRunner, Result

from app.cli import main
from tests.app.predictor.predict_home import CLASSES, encode, make_dataset, make_run, random_image
from tests.databases import home_environment

RUN = "0123456789"


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("home")
    make_dataset(home)
    make_run(home, RUN)
    (home / "photos").mkdir()
    with zipfile.ZipFile(home / "photos.zip", "w") as archive:
        for number in range(3):
            (home / "photos" / f"{number}.png").write_bytes(encode(random_image(number)))
            archive.writestr(f"{number}.png", encode(random_image(number)))
        archive.writestr("bad.png", b"no image")
    return home


def predict(home: Path, *arguments: str | Path) -> Result:
    found = CliRunner().invoke(main, ["predict", *map(str, arguments)], env=home_environment(home))
    assert found.exception is None or isinstance(found.exception, SystemExit)
    return found


def test_rows_of_files_folders_and_zips(home: Path) -> None:
    found = predict(home, RUN, home / "photos", home / "photos.zip", home / "photos" / "0.png", "--top-k", "2")
    assert found.exit_code == 0, found.stderr
    rows = list(csv.reader(found.stdout.splitlines()))
    assert rows[0] == ["file", "rank", "label", "probability", "error"]
    names = [*(f"photos/{n}.png" for n in range(3)), *(f"photos.zip/{n}.png" for n in range(3))]
    assert [row[0].removeprefix(f"{home}/") for row in rows[1:]] == [
        *(name for name in names for _ in range(2)),
        "photos.zip/bad.png",
        *["photos/0.png"] * 2,
    ]
    by_name = {(Path(row[0]).parent.name, Path(row[0]).name, row[1]): row[2:] for row in rows[1:]}
    for number in range(3):
        one, other = by_name["photos", f"{number}.png", "1"], by_name["photos.zip", f"{number}.png", "1"]
        assert one[0] == other[0] in CLASSES
        assert float(one[1]) == pytest.approx(float(other[1]), abs=1e-4)
    assert found.stderr == ""  # no bar where there is no terminal


def test_objects_line_by_line(home: Path) -> None:
    found = predict(home, RUN, home / "photos.zip", "--format", "jsonl")
    lines = [orjson.loads(line) for line in found.stdout.splitlines()]
    assert [Path(line["file"]).name for line in lines] == ["0.png", "1.png", "2.png", "bad.png"]
    assert [set(line) for line in lines] == [{"file", "predictions"}] * 3 + [{"file", "error"}]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((RUN, "gone.png"), "No image could be read."),
        (("0000000000", "photos"), "There is no run"),
        ((RUN, "photos", "broken.zip"), "not a zip"),
    ],
)
def test_what_ends_in_failure(
    home: Path, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...], said: str
) -> None:
    monkeypatch.chdir(home)
    (home / "broken.zip").write_text("hello")
    found = predict(home, *arguments)
    assert found.exit_code == 1
    assert said in found.stderr


def test_a_bar_on_a_terminal_and_ctrl_c(home: Path, tmp_path: Path) -> None:
    """It says how far it is, and Ctrl-C, which reaches the whole group, ends it without a word or a process left."""
    for number in range(1500):
        os.link(home / "photos" / "0.png", tmp_path / f"{number}.png")
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        # Five rows an image are more than the pipe holds: it cannot be through before it is interrupted.
        [sys.executable, "-m", "app.cli", "predict", RUN, str(tmp_path), "--top-k", "5"],
        env={**os.environ, **home_environment(home), "TERM": "xterm", "COLUMNS": "100"},
        stdout=subprocess.PIPE,
        stderr=theirs,
        start_new_session=True,
    )
    os.close(theirs)
    assert process.stdout is not None
    with process.stdout as out:
        assert out.readline().startswith(b"file,rank")
        assert out.readline()
        family = psutil.Process(process.pid).children(recursive=True)
        assert family
        os.killpg(process.pid, signal.SIGINT)
        out.read()
    assert process.wait(10) == 130
    assert psutil.wait_procs(family, 5)[1] == []
    said = b""
    while True:
        try:
            block = os.read(ours, 1 << 16)
        except OSError:  # the other end is closed
            break
        if not block:
            break
        said += block
    os.close(ours)
    assert b"/1500" in said
    assert b"Traceback" not in said
