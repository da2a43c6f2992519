"""`trackside runs …` against a real server."""

from __future__ import annotations

import csv
import io
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from app.supervisor import free_port
from tests.client.conftest import CLIENT
from tests.client.test_client import SHORT
from tests.conftest import ENDLESS, NARROW, Server, new_server

Command = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory, shapes: Path) -> Iterator[Server]:
    server = new_server(tmp_path_factory.mktemp("commands") / "home", shapes)
    server.start("web", "worker")
    yield server
    server.close()


def process_of(served: Server, folder: Path, *words: str) -> subprocess.Popen[str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("TRACKSIDE_")}
    return subprocess.Popen(
        [sys.executable, "-m", "trackside", "runs", *words], cwd=folder, text=True, stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        env={**kept, "TRACKSIDE_URL": served.url, "PYTHONPATH": str(CLIENT)},
    )  # fmt: skip


@pytest.fixture
def runs(served: Server, tmp_path: Path) -> Command:
    """Carries out a command and returns its output; its exit code must be `code`."""

    def carry_out(*words: str, code: int = 0) -> subprocess.CompletedProcess[str]:
        with process_of(served, tmp_path, *words) as process:
            output, errors = process.communicate(timeout=90)
        assert process.returncode == code, output + errors
        return subprocess.CompletedProcess(words, code, output, errors)

    return carry_out


def settings_of(overrides: dict[str, Any]) -> list[str]:
    return [word for name, value in overrides.items() for word in ("--set", f"{name}={json.dumps(value)}")]


LAUNCH = ("launch", "--dataset", "shapes100", "--preset", "baseline-cnn")


@pytest.fixture(scope="module")
def finished(served: Server) -> str:
    run_id = served.launch(overrides=SHORT, name="short", tags=["t"])
    served.wait_status(run_id, "finished", seconds=90)
    return run_id


def test_a_launch_waits_until_the_run_has_finished(runs: Command, served: Server) -> None:
    words = [*settings_of(SHORT), "--set", "optimizer.name=sgd", "--name", "by command", "--tag", "x", "--tag", "y"]
    lines = runs(*LAUNCH, *words, "--wait").stdout.splitlines()
    run = served.run(lines[0])
    assert (run["status"], run["name"], run["tags"]) == ("finished", "by command", ["x", "y"])
    assert run["spec"]["optimizer"]["name"] == "sgd"
    assert lines[-1].startswith("finished  epoch ")
    assert "test/acc 0." in lines[-1]
    bodies = [json.loads(line) for line in runs(*LAUNCH, *words, "--wait", "--json").stdout.splitlines()]
    assert bodies[-1]["status"] == "finished"
    assert "test/acc" in bodies[-1]["summary"]


def test_runs_are_listed_and_shown(runs: Command, finished: str) -> None:
    table = runs("list", "--tag", "t").stdout.splitlines()
    assert table[0].split() == ["ID", "STATUS", "PROGRESS", "VAL", "ACC", "DATASET", "NAME"]
    assert table[1].split()[:3] == [finished, "finished", "100%"]
    (listed,) = json.loads(runs("list", "--tag", "t", "--json").stdout)
    shown_body = json.loads(runs("show", finished, "--json").stdout)
    assert shown_body.keys() == listed.keys()
    # `seq` is the feed's, which goes on whatever changes on the server.
    assert {**shown_body, "seq": 0} == {**listed, "seq": 0}
    shown = runs("show", finished).stdout
    assert f"{finished}  short" in shown
    assert "test/acc: 0." in shown


def test_every_value_is_exported(runs: Command, finished: str, served: Server, tmp_path: Path) -> None:
    with served.client() as api:
        expected = api.get(f"/api/runs/{finished}/metrics.csv").text
    # The command's output is text here, which has the line breaks of text.
    assert runs("export", finished).stdout == expected.replace("\r\n", "\n")
    runs("export", finished, "-o", "all.csv")
    assert (tmp_path / "all.csv").read_bytes().decode() == expected
    runs("export", finished, "--format", "json", "-o", "all.json")
    body = json.loads((tmp_path / "all.json").read_text())
    assert body["run"]["id"] == finished
    rows = list(csv.DictReader(io.StringIO(expected)))
    assert {(name, step) for name, found in body["series"].items() for step in found["step"]} == {
        (row["series"], int(row["step"])) for row in rows
    }
    losses = [float(row["value"]) for row in rows if row["series"] == "train/loss"]
    assert body["series"]["train/loss"]["value"] == losses
    assert sorted(item.name for item in tmp_path.iterdir()) == ["all.csv", "all.json"]


def test_odd_series_are_exported_under_their_names(runs: Command, served: Server, tmp_path: Path) -> None:
    code = (
        "import trackside\nrun = trackside.init(id='odd')\n"
        "for value in (1.5, float('nan'), float('-inf')): run.log({'=x, \"y\"': value, 'plain': 1})\n"
    )
    environment = {**os.environ, "TRACKSIDE_URL": served.url}
    subprocess.run([sys.executable, "-c", code], env=environment, cwd=tmp_path, check=True, capture_output=True)
    served.wait_status("odd", "finished")
    series = json.loads(runs("export", "odd", "--json").stdout)["series"]
    assert series['=x, "y"']["value"] == [1.5, None, None]
    assert [item["kind"] for item in series['=x, "y"']["nonfinite"]] == ["NaN", "-Infinity"]
    assert series["plain"]["value"] == [1, 1, 1]
    assert runs("watch", "odd").stdout.startswith("finished  step 2")


def test_the_log_is_printed_and_followed(runs: Command, finished: str, served: Server) -> None:
    with served.client() as api:
        expected = [line["line"] for line in api.get(f"/api/runs/{finished}/log").json()]
    assert runs("logs", finished).stdout.splitlines() == expected
    assert runs("logs", finished, "--follow").stdout.splitlines() == expected
    (first, *_) = runs("logs", finished, "--json").stdout.splitlines()
    assert json.loads(first)["line"] == expected[0]


@pytest.mark.timeout(240)
def test_a_run_is_watched_stopped_and_resumed(runs: Command, served: Server, tmp_path: Path) -> None:
    run_id = runs(*LAUNCH, *settings_of({**NARROW, **ENDLESS})).stdout.strip()
    with process_of(served, tmp_path, "watch", run_id) as watching:
        assert watching.stdout is not None
        first = watching.stdout.readline()
        served.wait_step(run_id, 3)
        served.kill("web")
        served.start("web")
        assert runs("stop", run_id).stdout.startswith(run_id)
        output, errors = watching.communicate(timeout=60)
    assert (watching.returncode, errors) == (1, "")
    assert first.split()[0] in ("queued", "starting", "running")
    assert output.splitlines()[-1].startswith("stopped  epoch ")
    refused = runs("stop", run_id, code=1)
    assert refused.stderr.startswith("trackside: ")
    error = json.loads(runs("stop", run_id, "--json", code=1).stderr)["error"]
    assert (error["status"], bool(error["code"]), bool(error["message"])) == (409, True, True)
    assert json.loads(runs("resume", run_id, "--json").stdout)["id"] == run_id
    with process_of(served, tmp_path, "logs", run_id, "-f") as following:
        assert following.stdout is not None
        following.stdout.readline()
        following.send_signal(signal.SIGINT)
        _, errors = following.communicate(timeout=60)
    assert (following.returncode, errors) == (130, "")
    served.stop_run(run_id)


def test_errors_say_what_is_wrong(runs: Command) -> None:
    assert "absent" in runs("show", "absent", code=1).stderr
    refused = runs(*LAUNCH, "--set", "epochs=-1", code=1).stderr
    assert "epochs" in refused
    assert "field=value" in runs(*LAUNCH, "--set", "epochs", code=1).stderr
    away = f"http://127.0.0.1:{free_port('127.0.0.1')}"
    assert "cannot be reached" in runs("list", "--url", away, code=1).stderr
    assert json.loads(runs("list", "--url", away, "--json", code=1).stderr)["error"]["code"] == "unreachable"
    assert "is not an address" in runs("list", "--url", "here", code=1).stderr
    assert "required" in runs("launch", "--preset", "baseline-cnn", code=2).stderr
    assert "COMMAND" in runs(code=2).stderr


def test_a_reader_that_leaves_ends_it_quietly(served: Server, finished: str, tmp_path: Path) -> None:
    with process_of(served, tmp_path, "export", finished) as process:
        assert process.stdout is not None
        process.stdout.close()
        process.stdout = None
        _, errors = process.communicate(timeout=60)
    assert errors == ""


def test_both_helps_list_it(tmp_path: Path) -> None:
    def output_of(*words: str) -> str:
        done = subprocess.run([sys.executable, *words], capture_output=True, text=True, check=True, cwd=tmp_path)
        return done.stdout

    assert "List, launch, follow" in output_of("-m", "app.cli", "--help")
    assert "export" in output_of("-m", "app.cli", "runs", "--help")
    assert "--follow" in output_of("-m", "trackside", "runs", "logs", "--help")
    assert "List, launch, follow" in output_of("-m", "trackside", "--help")
