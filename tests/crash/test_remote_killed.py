"""A seat and a mirror, killed before each of their changes to files: nothing is lost, doubled, or listed too early."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import orjson
import pytest

from app.runs.launching import Launcher
from app.runs.requests import NewRun
from tests.conftest import runs_in
from tests.crash.remote_parts import SAVED_EVERY, STEPS
from tests.processes import children_with
from trainer.plan.decisions import recorded
from trainer.rundir.checkpoints import list_checkpoints
from trainer.rundir.events import attempts, walk
from trainer.rundir.folder import RunDir
from trainer.system.hashing import file_sha256

PARTS = "tests.crash.remote_parts"
SECONDS = 60.0
EXITED, GONE = 10, 11  # the exit status of a mirror that has copied everything, and of one whose run is not there


@dataclass
class Scene:
    """A home and a node. `dies`: the change before which a role's process is killed, to be started again."""

    home: Path
    node: Path
    run_dir: Path
    address: str
    dies: dict[str, int] = field(default_factory=dict)
    deaths: int = 0
    attempt: int = 1
    claim: int = 1

    def play(self) -> None:
        """Train the run to its end. Invariants are checked all the time."""
        seat, mirror = self.start_seat(), self.start_mirror("begins")
        deadline = time.monotonic() + SECONDS
        try:
            while True:
                assert time.monotonic() < deadline, "the run does not end"
                self.check()
                if seat.poll() is not None:
                    assert seat.returncode == -signal.SIGKILL
                    self.deaths += 1
                    seat = self.start_seat()
                if mirror.poll() is not None:
                    if mirror.returncode == EXITED and self.has_ended():
                        return
                    self.claim += 1
                    if mirror.returncode == -signal.SIGKILL:
                        self.deaths += 1
                        mirror = self.start_mirror("adopts")
                    else:  # it is not there, or has died: it is queued again, and claimed
                        assert mirror.returncode in (EXITED, GONE)
                        self.attempt += 1
                        mirror = self.start_mirror("begins")
                time.sleep(0.002)
        finally:
            for process in (seat, mirror):
                process.kill()
                process.wait()

    def start_seat(self) -> subprocess.Popen[bytes]:
        Path(self.address).unlink(missing_ok=True)
        return self._start("seat", str(self.node), self.address)

    def start_mirror(self, how: str) -> subprocess.Popen[bytes]:
        datasets = str(self.home / "datasets")
        return self._start(
            "mirror", str(self.run_dir), datasets, self.address, str(self.attempt), str(self.claim), how
        )  # fmt: skip

    def _start(self, role: str, *words: str) -> subprocess.Popen[bytes]:
        dies = {"DIE_AT": str(self.dies.pop(role))} if role in self.dies else {}
        with (self.home.parent / f"{role}.log").open("ab") as output:
            command = [sys.executable, "-m", PARTS, role, *words]
            return subprocess.Popen(command, stdout=output, stderr=output, env={**os.environ, **dies})

    def has_ended(self) -> bool:
        return any(event["e"] == "end" for _, event in walk(self.run_dir))

    def check(self) -> None:
        """A checkpoint that is listed can be loaded, and all events and decisions before it are there."""
        listed = list_checkpoints(self.run_dir)
        if not listed:
            return
        step = listed[-1].step
        if listed == list_checkpoints(self.run_dir):  # it was not pruned meanwhile
            weights = RunDir(self.run_dir).weights(step)
            try:
                assert file_sha256(weights) == listed[-1].sha256
            except FileNotFoundError:
                return
        steps = {event["step"] for _, event in walk(self.run_dir) if event["e"] == "metrics"}
        assert steps >= set(range(1, step + 1)), f"checkpoint {step} is listed without all events before it"
        decided = {decision.step for decision in recorded(self.run_dir)}
        assert decided >= set(range(15, step + 1, 15)), f"checkpoint {step} is listed without all decisions before it"

    def check_the_end(self) -> None:
        """Each step has one value, whatever happened; every file of the trainer is there."""
        values: dict[int, float] = {}
        for _, event in walk(self.run_dir):
            if event["e"] == "start":
                assert event["from_step"] <= max(values, default=0), "a gap"
                values = {step: value for step, value in values.items() if step <= event["from_step"]}
            elif event["e"] == "metrics":
                assert event["step"] not in values, "a value came twice"
                values[event["step"]] = event["v"]["train/loss"]
        assert values == {step: step / 7 for step in range(1, STEPS + 1)}
        steps = [info.step for info in list_checkpoints(self.run_dir)]
        assert steps[-2:] == [STEPS - SAVED_EVERY, STEPS]
        for number in attempts(self.run_dir):
            text = RunDir(self.run_dir).events(number).read_bytes()
            assert not text or text.endswith(b"\n")
            for line in text.splitlines():
                orjson.loads(line)
        assert RunDir(self.run_dir).calibration.exists()
        assert not list((self.node / "seats" / "0" / "runs").glob("[!.]*"))


@contextmanager
def scene(folder: Path, few_shapes: Path) -> Iterator[Scene]:
    home = folder / "home"
    home.mkdir(parents=True)
    with runs_in(home, few_shapes) as runs:
        request = NewRun.model_validate({"dataset": "shapes100", "preset": "baseline-cnn", "overrides": {"epochs": 2}})
        run_id = Launcher(runs.database, runs.settings).create(request).id
        yield Scene(home, folder / "node", runs.folder(run_id), str(folder / "seat.sock"))
    assert not children_with(PARTS, recursive=True)


def test_nobody_is_killed(tmp_path: Path, few_shapes: Path) -> None:
    with scene(tmp_path, few_shapes) as played:
        played.play()
        played.check_the_end()
        assert (played.deaths, played.attempt) == (0, 1)


@pytest.mark.parametrize("role", ["seat", "mirror"])
@pytest.mark.parametrize("part", range(4))
def test_killed_before_a_change(tmp_path: Path, few_shapes: Path, role: str, part: int) -> None:
    """TRACKSIDE_TEST_KILLS=n tries n changes of each role instead of a few of them."""
    tried = int(os.environ.get("TRACKSIDE_TEST_KILLS", "4"))
    for number in range(part, tried, 4):
        change = 1 + number * (200 // tried)
        with scene(tmp_path / str(change), few_shapes) as played:
            played.dies = {role: change}
            played.play()
            played.check_the_end()
            assert played.deaths <= 1
