"""`trackside watch`: the output, the exit code and the values of any command become a run."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.client.conftest import Scripts, finished
from tests.conftest import wait_for
from trackside.output import BURST, PROGRESS_SECONDS, OutputLines

COMMAND = [sys.executable, "-m", "trackside", "watch"]


def lines_of(scripts: Scripts) -> list[str]:
    return [event["line"] for event in scripts.only_run().events("log")]


def test_output_and_exit_code(scripts: Scripts) -> None:
    code = "import sys; print('hello'); print('trouble ☂', file=sys.stderr); sys.exit(7)"
    options = ["--name", "a name", "--project", "p", "--tag", "x", "--tag", "y", "--"]
    process = scripts.command([*COMMAND, *options, sys.executable, "-c", code])
    output, errors = process.communicate(timeout=60)
    assert process.returncode == 7
    assert output == "hello\n"
    assert "trouble ☂" in errors
    end = scripts.wait_end()
    assert (end["status"], end["exit_code"]) == ("failed", 7)
    assert end["error"]["message"] == "The command ended with exit code 7."
    assert set(end["error"]["detail"].splitlines()) == {"hello", "trouble ☂"}
    assert sorted(lines_of(scripts)) == ["hello", "trouble ☂"]
    announced = scripts.only_run().announced
    assert (announced["name"], announced["project"], announced["tags"]) == ("a name", "p", ["x", "y"])
    assert announced["script"]["command"][-1] == code


def test_a_script_inside_logs_to_the_same_run(scripts: Scripts) -> None:
    path = scripts.folder / "train.py"
    path.write_text(
        "import trackside\n"
        "with trackside.init(project='inner', config={'lr': 1}) as run:\n"
        "    for i in range(50): run.log({'loss': i})\n"
        "    run.summary['best'] = 3\n"
        "print(run.id)\n"
    )
    process = scripts.command([*COMMAND, "--name", "outer", "--", sys.executable, str(path)])
    output, errors = process.communicate(timeout=60)
    assert process.returncode == 0, errors
    scripts.wait_end()
    assert list(scripts.server.runs) == [output.strip()]
    run = scripts.only_run()
    assert run.points("loss") == [(i, i) for i in range(50)]
    assert [event["status"] for event in run.events("end")] == ["finished"]
    assert run.events("summary")[0]["v"] == {"best": 3}
    assert (run.announced["name"], run.announced["project"]) == ("outer", "inner")


def test_stop_ends_the_command(scripts: Scripts) -> None:
    code = "import signal, time; print('started', flush=True); time.sleep(600)"
    process = scripts.command([*COMMAND, "--", sys.executable, "-c", code])
    wait_for(lambda: "started" in lines_of(scripts), what="the command")
    scripts.only_run().stop = True
    finished(process, 128 + signal.SIGTERM)
    assert scripts.wait_end()["status"] == "stopped"


def test_a_killed_watcher_leaves_the_script_its_run(scripts: Scripts) -> None:
    (scripts.folder / "train.py").write_text(
        "import itertools, os, time, trackside\n"
        "run = trackside.init()\n"
        "for i in itertools.count():\n"
        "    run.log({'loss': i})\n"
        "    if os.path.exists('enough'): break\n"
        "    time.sleep(0.01)\n"
    )
    process = scripts.command([*COMMAND, "--", sys.executable, "train.py"])
    run = scripts.only_run()
    wait_for(lambda: run.points("loss"), what="points")
    process.kill()
    process.wait()
    before = len(run.points("loss"))
    wait_for(lambda: len(run.points("loss")) > before + 20, what="further points")
    assert not run.events("end")
    (scripts.folder / "enough").touch()
    assert scripts.wait_end()["status"] == "failed"
    values = run.points("loss")
    assert values == [(i, i) for i in range(len(values))]


def test_a_terminal_stays_one(scripts: Scripts) -> None:
    ours, theirs = pty.openpty()
    code = "import sys; print(sys.stdout.isatty(), sys.stderr.isatty()); sys.stdout.write('1%\\r2%\\r100%\\n')"
    process = subprocess.Popen(
        [*COMMAND, "--", sys.executable, "-c", code], stdout=theirs, stderr=subprocess.PIPE,
        cwd=scripts.folder, env=scripts.environment(),
    )  # fmt: skip
    os.close(theirs)
    shown = b""
    while b"100%" not in shown:
        shown += os.read(ours, 1000)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 0, errors
    os.close(ours)
    assert shown.startswith(b"True False")
    scripts.wait_end()
    assert lines_of(scripts) == ["True False", "100%"]


def test_an_unknown_command(scripts: Scripts) -> None:
    errors = finished(scripts.command([*COMMAND, "--", "no-such-command"]), 127)
    assert "no-such-command: command not found" in errors
    assert not scripts.server.runs


def test_the_environment_of_the_script(scripts: Scripts) -> None:
    git = ["git", "-c", "user.name=a", "-c", "user.email=a@b", "-C", str(scripts.folder)]
    for words in (["init", "-q"], ["commit", "-q", "--allow-empty", "-m", "first"]):
        subprocess.run([*git, *words], check=True)
    (scripts.folder / "train.py").write_text("print(1)\n")
    subprocess.run([*git, "add", "train.py"], check=True)
    process = scripts.command([*COMMAND, "--", sys.executable, "-c", "input()"])
    process.kill()
    code = "import time, os\nwhile not os.path.exists('enough'): time.sleep(0.02)"
    process = scripts.command([*COMMAND, "--", sys.executable, "-c", code])
    run = wait_for(
        lambda: next((run for run in scripts.server.runs.values() if run.events("environment")), None), 30, "it"
    )
    (scripts.folder / "enough").touch()
    finished(process)
    found = run.events("environment")[0]["v"]
    assert found["packages"]["numpy"]
    assert found["python"] == sys.version.split()[0]
    assert len(found["git"]["commit"]) == 40
    assert "+print(1)" in found["git"]["diff"]
    assert found["command"][0] == sys.executable


class Written:
    """What `OutputLines` makes of a stream, by a clock that the test turns."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.now = 0.0
        self.output = OutputLines(self.lines.append, lambda: self.now)


@pytest.mark.parametrize(
    ("parts", "expected"),
    [
        ([b"a\nb\n"], ["a", "b"]),
        ([b"a", b"b", b"\n", b"c"], ["ab", "c"]),
        ([b"a\r\nb\r\n"], ["a", "b"]),
        ([b"\xe2\x98", b"\x82\n"], ["☂"]),
        ([b"1%\r2%", b"\r3%\r", b"\ndone\n"], ["3%", "done"]),
        ([b"\x1b[31mred\x1b[0m\n\x1b[A\n\n"], ["red", ""]),
        ([b"\xff\n"], ["\ufffd"]),
    ],
)
def test_lines(parts: list[bytes], expected: list[str]) -> None:
    written = Written()
    for part in parts:
        written.output.feed(part)
    written.output.close()
    assert written.lines == expected


def test_progress_bars_are_thinned() -> None:
    written = Written()
    for percent in range(100):
        written.output.feed(f"\r{percent}%".encode())
        written.now += PROGRESS_SECONDS / 10
    written.output.feed(b"\r100%\n")
    assert 8 <= len(written.lines) <= 11
    assert written.lines[-1] == "100%"


def test_a_flood_of_lines_is_limited() -> None:
    written = Written()
    written.output.feed(b"x\n" * 20_000)
    assert len(written.lines) == BURST
    written.now += 1
    written.output.feed(b"y\n")
    assert written.lines[-2:] == ["(15,000 lines left out: more than 500 per second)", "y"]


def test_facts_are_json(scripts: Scripts) -> None:
    process = scripts.command([*COMMAND, "--offline", "--", sys.executable, "-c", "print(1)"])
    finished(process)
    (facts,) = Path(scripts.spool).glob("*/*.json")
    assert json.loads(facts.read_text())["mode"] == "offline"
