"""Checkpoints that are written by another thread while the run trains on."""

from __future__ import annotations

import errno
import os
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from trainer.data.format import read_record
from trainer.engine.ranks import ALONE
from trainer.engine.resident import load_resident
from trainer.engine.saving import Saver
from trainer.engine.trainee import Progress, Trainee, make_trainee
from trainer.loop import train
from trainer.models import checkpoint
from trainer.rundir.checkpoints import last_checkpoint, list_checkpoints
from trainer.rundir.creation import create_run_dir
from trainer.rundir.events import EventWriter, read_from
from trainer.spec.preset import build_spec

SMALL = {"model.widths": [4, 4, 4], "checks": "off", "compile": "off"}


class SlowDisk(EventWriter):
    """Events whose `sync`, with which a checkpoint begins to be written, takes until `answer` is set, or fails."""

    def __init__(self, run_dir: Path) -> None:
        super().__init__(run_dir, 1)
        self.answer = threading.Event()
        self.error: OSError | None = None

    def sync(self) -> None:
        assert self.answer.wait(60)
        if self.error is not None:
            raise self.error
        super().sync()


@dataclass
class Run:
    folder: Path
    events: SlowDisk
    trainee: Trainee
    context: Any

    def save(self, saver: Saver, step: int) -> None:
        saver.save(self.context, self.trainee, Progress(step=step, validation={"val/acc": 0.5}), 1, best=True)

    def seen(self, kind: str) -> list[dict[str, Any]]:
        return [event for event in read_from(self.events.path, 0)[0] if event["e"] == kind]


@pytest.fixture
def run(tmp_path: Path, shapes: Path) -> Iterator[Run]:
    folder, device = tmp_path / "r", torch.device("cpu")
    spec = build_spec("shapes100", "baseline-cnn", SMALL)
    create_run_dir(folder, spec, read_record(shapes, "shapes100"), {})
    data = load_resident(shapes, spec, device)
    events = SlowDisk(folder)
    trainee = make_trainee(spec, data, device, torch.float32, fresh=True)
    yield Run(folder, events, trainee, SimpleNamespace(device=device, data=data, ranks=ALONE))
    events.close()


def test_a_checkpoint_holds_what_it_held_at_its_step_and_is_announced_once_it_exists(run: Run) -> None:
    with Saver(run.folder, run.events) as saver:
        saved = {name: tensor.clone() for name, tensor in run.trainee.tensors().items()}
        run.save(saver, 7)
        for parameter in run.trainee.model.parameters():
            parameter.data.fill_(3.0)
        saver.poll()
        assert (list_checkpoints(run.folder), run.seen("checkpoint")) == ([], [])
        run.events.answer.set()
        saver.finish()
    (event,), info = run.seen("checkpoint"), last_checkpoint(run.folder)
    assert info is not None
    assert (event["step"], info.step, info.metrics, info.best) == (7, 7, {"val/acc": 0.5}, True)
    loaded = checkpoint.load(run.folder, info).tensors
    assert loaded.keys() == saved.keys()
    assert all(torch.equal(loaded[name], saved[name]) for name in saved)


def test_a_checkpoint_is_written_before_the_next_one_begins_and_before_the_end(run: Run) -> None:
    run.events.answer.set()
    with Saver(run.folder, run.events) as saver:
        for step in (1, 2, 2, 3):  # one that is saved already is not saved again
            run.save(saver, step)
    assert [event["step"] for event in run.seen("checkpoint")] == [1, 2, 3]
    assert [event["steps"] for event in run.seen("pruned")] == [[1]]
    assert [info.step for info in list_checkpoints(run.folder)] == [2, 3]


def save_and(run: Run, act: Callable[[Saver], None]) -> None:
    with Saver(run.folder, run.events) as saver:
        run.save(saver, 1)
        run.events.answer.set()
        act(saver)


def poll_on(saver: Saver) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        saver.poll()


@pytest.mark.parametrize("notice", [poll_on, Saver.finish, lambda _: None], ids=["poll", "finish", "end"])
def test_a_full_disk_is_an_error_of_the_thread_that_trains(run: Run, notice: Callable[[Saver], None]) -> None:
    run.events.error = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    with pytest.raises(OSError, match="No space left") as caught:
        save_and(run, notice)
    assert caught.value.errno == errno.ENOSPC
    assert (list_checkpoints(run.folder), run.seen("checkpoint")) == ([], [])


def test_the_error_that_ends_a_run_is_not_replaced_by_that_of_its_last_checkpoint(run: Run) -> None:
    def end_run(_: Saver) -> None:
        raise ValueError("first")

    run.events.error = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    with pytest.raises(ValueError, match="first"):
        save_and(run, end_run)


def test_a_stopped_run_returns_only_with_its_checkpoint(tmp_path: Path, shapes: Path) -> None:
    folder = tmp_path / "r"
    create_run_dir(folder, build_spec("shapes100", "baseline-cnn", SMALL), read_record(shapes, "shapes100"), {})
    events, calls = EventWriter(folder, 1), iter([False] * 5 + [True])
    outcome = train(folder, shapes, "cpu", 1, events, lambda: next(calls))
    events.close()
    info = last_checkpoint(folder)
    assert info is not None
    assert (outcome.reason, outcome.step, info.step) == ("interrupted", 5, 5)
