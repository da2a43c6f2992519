"""Several processes that train one run: gloo on the CPU, forked by a real fork server."""

from __future__ import annotations

import shutil
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import mean
from typing import Any

import psutil
import pytest
import safetensors.torch
import torch
from torch import Tensor

from tests.conftest import FIXED, NARROW, wait_for
from trainer.data.format import read_record
from trainer.plan.decisions import recorded
from trainer.process.assignment import Assignment
from trainer.process.forkclient import ForkServer
from trainer.rundir.checkpoints import last_checkpoint
from trainer.rundir.creation import create_run_dir
from trainer.rundir.events import EventWriter, read_from
from trainer.rundir.folder import RunDir
from trainer.rundir.journal import journal
from trainer.rundir.lock import lock_holder
from trainer.spec.preset import build_spec

NETWORKS = "tests.trainer.engine.networks_of_ranks"
SHORT: dict[str, Any] = {
    **NARROW, **FIXED, "max_steps": 6, "epochs": 1, "model.widths": [], "model.name": f"{NETWORKS}:without_norm",
}  # fmt: skip
Train = Callable[..., dict[str, Any]]


@pytest.fixture(scope="module")
def server() -> Iterator[ForkServer]:
    started = ForkServer()
    yield started
    started.close()


@pytest.fixture
def start(server: ForkServer, shapes: Path, tmp_path: Path) -> Callable[..., int]:
    """Start a run's trainer on `ranks` devices, and return its pid."""

    def begin(
        name: str, overrides: dict[str, Any], ranks: int = 1, attempt: int = 1, preset: str = "baseline-cnn"
    ) -> int:
        folder = tmp_path / name
        if not folder.exists():
            spec = build_spec("shapes100", preset, {**SHORT, **overrides})
            create_run_dir(folder, spec, read_record(shapes, "shapes100"), {})
        EventWriter(folder, attempt).close()
        others = tuple("cpu" for _ in range(ranks - 1))
        return server.start(Assignment(str(folder), str(shapes), "cpu", attempt, others=others))

    return begin


@pytest.fixture
def train(start: Callable[..., int], tmp_path: Path) -> Train:
    """Train a run to its end, and return its `end` event."""

    def to_end(name: str, *arguments: Any, attempt: int = 1, **options: Any) -> dict[str, Any]:
        start(name, *arguments, attempt=attempt, **options)
        found = wait_for(lambda: [event for event in events_of(tmp_path / name, attempt) if event["e"] == "end"], 90)
        return found[0]

    return to_end


def events_of(folder: Path, attempt: int = 1) -> list[dict[str, Any]]:
    return read_from(RunDir(folder).events(attempt), 0)[0]


def tensors_of(folder: Path) -> dict[str, Tensor]:
    info = last_checkpoint(folder)
    assert info is not None
    return safetensors.torch.load_file(RunDir(folder).weights(info.step))


def assert_same_weights(folder: Path, other: Path, tolerance: float) -> set[str]:
    """Return the names of the tensors that only the first has."""
    ours, theirs = tensors_of(folder), tensors_of(other)
    for name, value in theirs.items():
        if name.startswith(("model.", "raw.")):
            torch.testing.assert_close(ours[name], value, rtol=0, atol=tolerance, msg=name)
    return ours.keys() - theirs.keys()


def series_of(folder: Path, name: str) -> dict[int, float]:
    return {
        event["step"]: event["v"][name] for event in events_of(folder) if event["e"] == "metrics" and name in event["v"]
    }


@pytest.mark.parametrize("ranks", [2, 4])
@pytest.mark.parametrize(
    "overrides",
    [
        {"optimizer.name": "sgd", "optimizer.lr": 0.05, "optimizer.momentum": 0.9, "optimizer.clip_norm": 1.0},
        {"augment.mixup": 0.4, "augment.cutmix": 1.0, "augment.flip": True, "augment.crop": 4},
        {"class_weights": "balanced", "label_smoothing": 0.1, "optimizer.ema": 0.9, "gradient_accumulation": 3},
    ],
)
def test_ranks_train_what_one_process_trains(
    train: Train, tmp_path: Path, ranks: int, overrides: dict[str, Any]
) -> None:
    ended = [train("one", overrides), train("several", overrides, ranks=ranks)]
    assert [end["reason"] for end in ended] == ["finished"] * 2, ended
    for name in ("train/loss", "train/acc", "val/loss", "val/acc"):
        one, several = series_of(tmp_path / "one", name), series_of(tmp_path / "several", name)
        assert one.keys() == several.keys()
        assert list(several.values()) == pytest.approx(list(one.values()), abs=2e-6), name
    assert ended[1]["summary"] == pytest.approx(ended[0]["summary"], abs=2e-5)
    added = assert_same_weights(tmp_path / "several", tmp_path / "one", 1e-6)
    assert added == {f"rng.{rank}" for rank in range(1, ranks)}


def ranks_of(pid: int, ranks: int) -> list[psutil.Process]:
    """The processes of a run, in the order of their ranks, once all are there."""
    first = psutil.Process(pid)
    wait_for(lambda: len(first.children()) == ranks - 1, 30, "the other ranks")
    return [first, *sorted(first.children(), key=lambda process: process.pid)]


def wait_step(folder: Path, step: int, attempt: int = 1) -> None:
    wait_for(lambda: any(event.get("step", 0) >= step for event in events_of(folder, attempt)), 60, f"step {step}")


def wait_ended(processes: list[psutil.Process]) -> None:
    wait_for(lambda: not any(process.is_running() for process in processes), 15, "the end of all ranks")


STATEFUL: dict[str, Any] = {
    "model.name": "cnn", "model.widths": [4, 6, 6], "model.dropout": 0.3, "optimizer.ema": 0.9, "augment.mixup": 0.3,
    "max_steps": 60, "log_every": 1, "epochs": 2,
}  # fmt: skip


def test_a_resumed_run_is_the_same_run(start: Callable[..., int], train: Train, tmp_path: Path) -> None:
    assert train("undisturbed", STATEFUL, ranks=2)["reason"] == "finished"
    processes = ranks_of(start("stopped", STATEFUL, ranks=2), 2)
    wait_step(tmp_path / "stopped", 7)
    processes[0].send_signal(signal.SIGTERM)
    wait_ended(processes)
    stopped_at = last_step(tmp_path / "stopped")
    assert 7 <= stopped_at < 60
    shutil.copytree(tmp_path / "stopped", tmp_path / "elsewhere")
    assert train("stopped", STATEFUL, ranks=2, attempt=2)["reason"] == "finished"
    whole, resumed = tensors_of(tmp_path / "undisturbed"), tensors_of(tmp_path / "stopped")
    assert whole.keys() == resumed.keys()
    assert [name for name, value in whole.items() if not torch.equal(value, resumed[name])] == []
    # With another number of devices it is the same run but for BatchNorm and dropout.
    assert train("elsewhere", STATEFUL, ranks=4, attempt=2)["reason"] == "finished"
    assert tensors_of(tmp_path / "elsewhere").keys() - whole.keys() == {"rng.2", "rng.3"}


def last_step(folder: Path) -> int:
    info = last_checkpoint(folder)
    return 0 if info is None else info.step


@pytest.mark.parametrize("killed", [0, 1, 2])
def test_no_rank_outlives_another(start: Callable[..., int], tmp_path: Path, killed: int) -> None:
    processes = ranks_of(start("run", {**STATEFUL, "max_steps": 100_000, "epochs": 10_000}, ranks=3), 3)
    wait_step(tmp_path / "run", 3)
    processes[killed].kill()
    wait_ended(processes)
    assert not [event for event in events_of(tmp_path / "run") if event["e"] == "end"]
    assert lock_holder(tmp_path / "run") is None


def test_the_error_of_another_rank_is_that_of_the_run(start: Callable[..., int], train: Train, tmp_path: Path) -> None:
    end = train("run", {"model.name": f"{NETWORKS}:out_of_memory_on_another_rank"}, ranks=2)
    assert end["reason"] == "failed"
    assert end["error"]["code"] == "out_of_memory"
    assert end["error"]["message"].startswith("On cpu: The device ran out of memory")


def test_all_ranks_take_the_same_decisions(start: Callable[..., int], train: Train, tmp_path: Path) -> None:
    """Paused, finished early, then extended: one process that replays the first two trains the same."""
    long = {"max_steps": 400, "epochs": 10, "log_every": 1, "schedule.name": "cosine", "optimizer.ema": 0.9}
    folder = tmp_path / "several"
    for attempt, request in enumerate((RunDir(folder).pause, RunDir(folder).finish_early), 1):
        pid = start("several", long, ranks=2, attempt=attempt)
        wait_step(folder, 5 if attempt == 1 else last_step(folder) + 5, attempt)
        request.touch()
        wait_for(lambda: not psutil.pid_exists(pid), 60, "the end of rank 0")  # noqa: B023
    assert [events_of(folder, attempt)[-1]["reason"] for attempt in (1, 2)] == ["interrupted", "finished"]
    of_attempts = shutil.ignore_patterns("*.safetensors", "[0-9]*.json*")  # checkpoints and events
    shutil.copytree(folder, tmp_path / "one", ignore=of_attempts)
    assert train("one", long)["reason"] == "finished"
    assert (finished_at := last_step(folder)) == last_step(tmp_path / "one") < 400
    assert_same_weights(folder, tmp_path / "one", 1e-4)
    journal(folder, "resume", extend_epochs=1, extension={"schedule": {"name": "linear"}, "lr": 1e-4})
    assert train("several", long, ranks=2, attempt=3)["reason"] == "finished"
    assert last_step(folder) == finished_at + 56


def test_with_batchnorm_the_curve_is_within_the_spread_of_seeds(train: Train, tmp_path: Path) -> None:
    with_norm = {"model.name": "cnn", "model.widths": [6, 8, 8], "max_steps": 40, "log_every": 1}
    train("one", with_norm)
    train("several", with_norm, ranks=2)
    train("other seed", {**with_norm, "seed": 1})
    one, several, other = (series_of(tmp_path / name, "train/loss") for name in ("one", "several", "other seed"))
    assert one.keys() == several.keys() == other.keys()
    between_ranks = mean(abs(one[step] - several[step]) for step in one)
    between_seeds = mean(abs(one[step] - other[step]) for step in one)
    assert between_ranks < between_seeds / 2


LONG: dict[str, Any] = {"max_steps": 70, "epochs": 2, "compile": "on"}


@pytest.mark.timeout(300)
def test_compiled_ranks_train_what_one_eager_process_does(train: Train, tmp_path: Path) -> None:
    network = {**LONG, "model.name": f"{NETWORKS}:linear"}
    assert train("one", {**network, "compile": "off"})["reason"] == "finished"
    assert train("several", network, ranks=2)["reason"] == "finished"
    assert [decision.kind for decision in recorded(tmp_path / "several")] == ["compile"]
    assert_same_weights(tmp_path / "several", tmp_path / "one", 1e-5)


@pytest.mark.timeout(300)
def test_a_rank_that_fails_to_compile_makes_the_next_attempt_eager(train: Train, tmp_path: Path) -> None:
    network = {**LONG, "model.name": f"{NETWORKS}:not_compiled_on_another_rank"}
    assert train("run", network, ranks=2)["reason"] == "interrupted"
    lines = [event["line"] for event in events_of(tmp_path / "run") if event["e"] == "log"]
    assert "the forward pass does not compile here" in lines[-1]
    assert last_step(tmp_path / "run") == 64
    assert train("run", network, ranks=2, attempt=2)["reason"] == "finished"
    assert last_step(tmp_path / "run") == 70
