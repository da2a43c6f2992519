"""A script's values reach the server: each once, whatever is killed or cannot be reached."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path

from tests.client.conftest import Scripts, finished
from tests.client.protocol_server import ProtocolServer
from tests.conftest import wait_for

COUNT = 'for i in range(100): trackside.log({"loss": 1 / (i + 1)})'
EXPECTED = [(i, 1 / (i + 1)) for i in range(100)]
# Logs for ever, and prints each step once `log` has returned for it.
ENDLESS = """
import itertools, time
run = trackside.init(id="endless")
for i in itertools.count():
    run.log({"loss": i})
    print(i, flush=True)
    time.sleep(0.001)
"""


def spool_is_empty(scripts: Scripts) -> bool:
    return not list(scripts.spool.glob("*/*"))


def test_two_lines_are_enough(scripts: Scripts) -> None:
    errors = scripts.run(f'trackside.init(project="mnist", name="first", config={{"lr": 0.1}})\n{COUNT}')
    run = scripts.only_run()
    assert run.points("loss") == EXPECTED
    assert run.announced["project"] == "mnist"
    assert run.announced["name"] == "first"
    assert run.events()[0]["e"] == "start"
    assert run.events("config")[0]["v"] == {"lr": 0.1}
    assert run.events()[-1]["status"] == "finished"
    assert f"{scripts.server.url}/runs/" in errors
    wait_for(lambda: spool_is_empty(scripts), what="the removal of the spool")


def test_an_exception_fails_the_run(scripts: Scripts) -> None:
    errors = scripts.run('trackside.init()\ntrackside.log({"a": 1})\nraise ValueError("too small")', status=1)
    end = scripts.wait_end()
    assert (end["status"], end["error"]["code"], end["error"]["message"]) == ("failed", "ValueError", "too small")
    assert "raise ValueError" in end["error"]["detail"]
    assert "ValueError: too small" in errors


def test_an_exit_status_fails_the_run(scripts: Scripts) -> None:
    scripts.run("import sys\ntrackside.init()\nsys.exit(3)", status=3)
    end = scripts.wait_end()
    assert (end["status"], end["exit_code"]) == ("failed", 3)


def test_a_killed_script_loses_nothing_that_was_logged(scripts: Scripts) -> None:
    process = scripts.start(ENDLESS)
    assert process.stdout is not None
    printed = [int(process.stdout.readline()) for _ in range(300)]
    process.send_signal(signal.SIGKILL)
    printed += [int(line) for line in process.stdout.read().split()]  # communicate() loses what is in its buffer
    end = scripts.wait_end()
    assert (end["status"], end["error"]["code"]) == ("failed", "exited")
    values = scripts.only_run().points("loss")
    assert values[: len(printed)] == [(i, i) for i in range(len(printed))]
    assert len(values) - len(printed) in (0, 1)  # the last was logged and not printed


def test_the_server_is_down_meanwhile(scripts: Scripts, protocol_server: ProtocolServer) -> None:
    process = scripts.start(ENDLESS)
    wait_for(lambda: len(scripts.only_run().points("loss")) > 50, what="points")
    protocol_server.stop()
    assert process.stdout is not None
    for line in process.stdout:
        if int(line) > 1000:
            break
    protocol_server.lost_answers = 2
    protocol_server.start()
    process.send_signal(signal.SIGINT)
    errors = finished(process, status=-signal.SIGINT)
    assert errors.count("cannot be reached") == 1
    assert scripts.wait_end()["status"] == "stopped"
    values = scripts.only_run().points("loss")
    assert len(values) > 1000
    assert values == [(i, i) for i in range(len(values))]


def test_a_killed_sender_is_replaced(scripts: Scripts) -> None:
    process = scripts.start(ENDLESS)
    run = scripts.only_run()
    wait_for(lambda: len(run.points("loss")) > 50, what="points")
    (sender,) = senders_of(scripts.spool)
    os.kill(sender, signal.SIGKILL)
    assert process.stdout is not None
    process.stdout.close()  # the script ends by the broken pipe
    process.stdout = None
    process.wait(30)
    wait_for(lambda: run.events("end"), 30, "the end")
    values = run.points("loss")
    assert values == [(i, i) for i in range(len(values))]


def test_a_child_that_outlives_its_script_does_not_keep_the_run_open(scripts: Scripts) -> None:
    code = """
import os, signal, sys, time
run = trackside.init()
run.log({"a": 1})
if os.fork() == 0:
    for number in (1, 2): os.close(number)
    while not os.path.exists("enough"): time.sleep(0.05)
    os._exit(0)
os.kill(os.getpid(), signal.SIGKILL)
"""
    scripts.run(code, status=-signal.SIGKILL)
    try:
        assert scripts.wait_end(10)["error"]["code"] == "exited"
    finally:
        (scripts.folder / "enough").touch()


def test_another_server_is_told_from_a_deleted_run(scripts: Scripts) -> None:
    errors = scripts.run("trackside.init()", TRACKSIDE_URL=f"{scripts.server.url}/elsewhere")
    assert "is not a Trackside server that takes script runs" in errors
    assert list(scripts.spool.glob("*/*.jsonl"))


def test_stop_interrupts_the_script(scripts: Scripts) -> None:
    process = scripts.start(ENDLESS.replace("print(i, flush=True)", ""))
    scripts.only_run().stop = True
    errors = finished(process, status=-signal.SIGINT)
    assert "stopped from the dashboard" in errors
    assert scripts.wait_end()["status"] == "stopped"


def senders_of(spool: Path) -> list[int]:
    done = subprocess.run(["pgrep", "-f", f"trackside.sender.*{spool}/"], capture_output=True, text=True, check=False)
    return [int(line) for line in done.stdout.split()]
