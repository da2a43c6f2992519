"""The client and Trackside's own server: what a script logs is on the dashboard, whatever is killed."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.client.conftest import CLIENT, finished
from tests.client.relay import Relay, relay_to
from tests.client.test_sending import senders_of
from tests.conftest import Server, new_server, wait_for
from trackside.imports.content import Content
from trackside.png import encode_png
from trackside.tensorboard.encoding import (
    images_record,
    scalar_record,
    settings_record,
    text_record,
    version_record,
)
from trackside.tensorboard.source import EventFiles

KILLS = int(os.environ.get("TRACKSIDE_TEST_KILLS", "10"))
KILLS_PER_SESSION = 5


@pytest.fixture
def served(tmp_path: Path, shapes: Path) -> Iterator[Server]:
    server = new_server(tmp_path / "home", shapes)
    server.start("web", "worker")
    yield server
    server.close()


@pytest.fixture
def start(served: Server, tmp_path: Path) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Starts a script, given as code, or a command."""
    started: list[subprocess.Popen[str]] = []

    def start(code: str | list[str], **environment: str) -> subprocess.Popen[str]:
        path = tmp_path / "train.py"
        if isinstance(code, str):
            path.write_text(code)
        kept = {name: value for name, value in os.environ.items() if not name.startswith("TRACKSIDE_")}
        known = {"TRACKSIDE_URL": served.url, "PYTHONPATH": str(CLIENT)}
        started.append(
            subprocess.Popen(
                [sys.executable, str(path)] if isinstance(code, str) else code,
                env={**kept, **known, **environment}, cwd=tmp_path, text=True, stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            )
        )  # fmt: skip
        return started[-1]

    yield start
    for process in started:
        if process.poll() is None:
            process.kill()
        process.communicate()


ALL = """
import numpy as np, trackside
with trackside.init(id="all", project="p", name="n", config={"lr": 0.1, "model": {"depth": 3}}, tags=["t"]) as run:
    for i in range(200):
        run.log({"train/loss": 1 / (1 + i), "names/ 🙂 \\"x\\"": float("nan") if i == 7 else i})
    run.log({"sample": [trackside.Image(np.zeros((4, 4, 3), np.uint8), caption="c")], "note": "text"})
    run.summary["best"] = 0.5
    run.save(__file__)
"""


def test_everything_arrives(served: Server, start: Callable[..., subprocess.Popen[str]]) -> None:
    errors = finished(start(ALL))
    assert "is complete" in errors
    run = served.wait_status("all", "finished")
    assert (run["source"], run["project"], run["name"], run["tags"]) == ("script", "p", "n", ["t"])
    assert run["summary"]["best"] == 0.5
    series = served.series("all")
    assert series["train/loss"]["value"] == [1 / (1 + i) for i in range(200)]
    assert series['names/ 🙂 "x"']["total"] == 200
    with served.client() as client:
        described = client.get("/api/scripts/all").json()
        assert described["config"] == {"lr": 0.1, "model": {"depth": 3}}
        assert "numpy" in str(described["environment"])
        (file,) = described["files"]
        assert file["path"] == "train.py"
        assert client.get(f"/api/scripts/all/files/{file['sha256']}").text == ALL
        (image,) = client.get("/api/scripts/all/media", params={"name": "sample"}).json()
        assert client.get(f"/api/scripts/all/files/{image['sha256']}").status_code == 200


def test_a_watched_script_and_stop(served: Server, start: Callable[..., subprocess.Popen[str]], tmp_path: Path) -> None:
    (tmp_path / "inner.py").write_text(
        "import time, trackside\n"
        "run = trackside.init(project='inner', name='from inside')\n"
        "print('ready')\n"
        "while True:\n"
        "    run.log({'loss': 1})\n"
        "    time.sleep(0.01)\n"
    )
    watch = [sys.executable, "-m", "trackside", "watch", "--id", "watched", "--tag", "x", "--"]
    process = start([*watch, sys.executable, "inner.py"])

    def known() -> httpx.Response | None:
        with served.client() as client:
            answer = client.get("/api/runs/watched")
        return answer if answer.is_success and answer.json()["step"] > 10 else None

    wait_for(known, 30, "steps")
    wait_for(lambda: served.run("watched")["name"] == "from inside", what="the name")
    assert (served.run("watched")["project"], served.run("watched")["tags"]) == ("inner", ["x"])
    with served.client() as client:
        lines = client.get("/api/runs/watched/log").json()
    assert "ready" in str(lines)
    with served.client() as client:
        assert client.post("/api/runs/watched/stop").status_code == 202
    assert "stopped from the dashboard" in finished(process, 128 + signal.SIGTERM)
    served.wait_status("watched", "stopped")


def test_a_file_that_is_too_large_is_told_and_left(
    served: Server, start: Callable[..., subprocess.Popen[str]], tmp_path: Path
) -> None:
    served.kill("web")
    served.start("web", TRACKSIDE_MAX_SCRIPT_FILE_BYTES="1000000")
    (tmp_path / "weights.pt").write_bytes(bytes(30_000_000))
    code = "import trackside\nrun = trackside.init(id='large')\nrun.save('weights.pt')\nrun.log({'a': 1})"
    errors = finished(start(code))
    assert "the server refuses weights.pt" in errors
    assert "is complete" in errors
    assert served.wait_status("large", "finished")["step"] == 0


RESUMED = """
import trackside
with trackside.init(id="resumed") as run:
    for i in range({first}, {first} + 50): run.log({{"loss": {value}}}, step={step})
"""


def test_a_resumed_run_goes_on_after_what_no_worker_has_read(
    served: Server, start: Callable[..., subprocess.Popen[str]]
) -> None:
    served.kill("worker")
    finished(start(RESUMED.format(first=0, value="i", step="i")))
    finished(start(RESUMED.format(first=50, value="i", step=None)))
    served.start("worker")
    served.wait_status("resumed", "finished")
    series = wait_for(lambda: served.series("resumed").get("loss"), what="the series")
    assert series["step"] == list(range(100))
    assert series["value"] == list(range(100))
    environment = described(served, "resumed")["environment"]
    # An older checkpoint: its steps replace those that were logged.
    finished(start(RESUMED.format(first=70, value="-i", step="i")))
    wait_for(lambda: served.run("resumed")["attempt"] == 3, what="the third session")
    served.wait_status("resumed", "finished")
    series = wait_for(
        lambda: found if (found := served.series("resumed")["loss"])["value"][-1] == -119 else None, what="its values"
    )
    assert series["value"] == [*range(70), *(-i for i in range(70, 120))]
    assert described(served, "resumed")["environment"].keys() == environment.keys()
    assert "packages" in environment


def described(served: Server, run_id: str) -> dict[str, Any]:
    with served.client() as client:
        body: dict[str, Any] = client.get(f"/api/scripts/{run_id}").json()
        return body


ENDLESS = """
import itertools, time, trackside
run = trackside.init(id="killed")
for i in itertools.count(run.step):
    run.log({"loss": i * 0.5}, step=i)
    print(i, flush=True)
    time.sleep(0.002)
"""


@pytest.fixture
def relay(served: Server) -> Iterator[Relay]:
    with relay_to(served.settings.port) as found:
        yield found


@pytest.mark.timeout(60 + 15 * KILLS)
def test_random_kills_lose_and_double_nothing(
    served: Server, start: Callable[..., subprocess.Popen[str]], tmp_path: Path, relay: Relay
) -> None:
    """Of the server's processes, the sender, the network in the middle of requests, and the script: KILLS in all."""
    choose = random.Random(4)
    logged: list[int] = []
    sessions = KILLS // KILLS_PER_SESSION
    for session in range(sessions):
        process = start(ENDLESS, TRACKSIDE_URL=relay.url)
        assert process.stdout is not None
        for _ in range(KILLS_PER_SESSION - 1):
            until = choose.randrange(50, 300)
            logged += [int(process.stdout.readline()) for _ in range(until)]
            victim = choose.choice(["web", "worker", "sender", "network"])
            if victim == "sender":
                for pid in senders_of(tmp_path / ".trackside"):
                    os.kill(pid, signal.SIGKILL)
            elif victim == "network":
                relay.cut()
            else:
                served.kill(victim)
                served.start(victim)
        process.send_signal(signal.SIGKILL if session < sessions - 1 else signal.SIGINT)
        logged += [int(line) for line in process.communicate()[0].split()]
    run = served.wait_status("killed", "stopped", "failed")
    found = wait_for(
        lambda: series if (series := served.series("killed")["loss"])["total"] >= len(logged) else None, 60, "all"
    )
    steps = found["step"]
    # A value that was logged just before a kill may not have been printed.
    assert set(logged) <= set(steps)
    assert steps == list(range(len(steps)))
    assert found["value"] == [step * 0.5 for step in steps]
    assert run["attempt"] == sessions


def test_event_files_of_tensorboard_in_and_out(
    served: Server, start: Callable[..., subprocess.Popen[str]], tmp_path: Path
) -> None:
    logs, name = tmp_path / "logs", "events.out.tfevents.1700000000.host.1.0"
    logs.mkdir()
    png = encode_png(bytes(range(48)), 4, 4, 3)
    records = [scalar_record(1.7e9 + step, step, "=a/ 🙂", step / 3) for step in range(3000)]
    others = [
        settings_record(1.7e9, {"lr": 0.5}), text_record(1.7e9, 1, "note", "hello"),
        images_record(1.7e9, 2, "sample", [png, png], 4, 4),
    ]  # fmt: skip
    (logs / name).write_bytes(version_record(1.7e9) + b"".join([*others, *records[:1500]]))
    command = [sys.executable, "-m", "trackside"]
    imported = [*command, "import", "tensorboard", "logs"]
    finished(start(imported))
    with (logs / name).open("ab") as file:
        file.write(b"".join(records[1500:]))
    finished(start(imported))
    assert "nothing is new" in finished(start(imported))
    with served.client() as client:
        (run,) = client.get("/api/runs").json()["items"]
    wait_for(lambda: served.series(run["id"]).get("=a/ 🙂", {}).get("total") == 3000, what="all values")
    served.wait_status(run["id"], "finished")
    assert described(served, run["id"])["config"] == {"lr": 0.5}
    assert described(served, run["id"])["passed_over"] == 0
    finished(start([*command, "export", "tensorboard", run["id"], "-o", "out"]))
    contents = [Content(EventFiles(folder)) for folder in (logs, tmp_path / "out")]
    found = []
    for content in contents:
        assert content.read()
        found.append(sorted(content.bytes_at(0, content.size).splitlines()[1:]))  # without the time of the settings
        content.close()
    assert found[0] == found[1]
