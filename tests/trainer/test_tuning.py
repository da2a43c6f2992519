"""How a run is executed is decided once, recorded, replayed bit for bit, and remembered for the next run."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.conftest import NARROW
from tests.crash.test_promise_07_resume import stop_at, weights_hash
from trainer.data.format import read_record
from trainer.engine.probe import HOPELESS
from trainer.loop import train
from trainer.plan.decisions import Decisions
from trainer.plan.execution import Execution, Verdict, Verdicts, Workload
from trainer.rundir.creation import create_run_dir
from trainer.rundir.events import EventWriter
from trainer.spec.preset import build_spec
from trainer.spec.train_spec import TrainSpec
from trainer.system.parallel import available_cores

OVERRIDES = {**NARROW, "max_steps": 70, "model.dropout": 0.2, "optimizer.ema": 0.9}
CONTIGUOUS = Execution("float32", channels_last=False, threads=1)


@pytest.fixture(autouse=True)
def short_runs_are_probed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trainer.plan.steering.WORTH_PROBING_SECONDS", 0.0)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")


@pytest.fixture(autouse=True)
def same_threads() -> Any:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def run(folder: Path, shapes: Path, spec: TrainSpec, cache: Path | None, stops: list[int]) -> list[dict[str, Any]]:
    """Train with stops at these steps; return the values of the decisions about the execution."""
    create_run_dir(folder, spec, read_record(shapes, "shapes100"), {})
    should_stop: Callable[[], bool] = stop_at(stops)
    for attempt in range(1, len(stops) + 2):
        events = EventWriter(folder, attempt)
        outcome = train(folder, shapes, "cpu", attempt, events, should_stop, cache)
        events.close()
    assert outcome.reason == "finished"
    taken = Decisions(folder).due(10**9)
    return [decision.values for decision in taken if decision.kind == "execution"]


def workload(spec: TrainSpec, threads: int = 0) -> Workload:
    return Workload(torch.__version__, available_cores(), spec.model, spec.batch_size, 32, threads=threads)


def test_a_remembered_execution_is_taken_and_resumed_exactly(tmp_path: Path, shapes: Path) -> None:
    spec = build_spec("shapes100", "baseline-cnn", OVERRIDES)
    Verdicts(tmp_path / "cache").put(workload(spec, threads=1), Verdict(CONTIGUOUS, {}))
    whole = run(tmp_path / "whole", shapes, spec, tmp_path / "cache", [])
    stopped = run(tmp_path / "stopped", shapes, spec, tmp_path / "cache", [20, 50, 60])
    assert whole == stopped == [{**asdict(CONTIGUOUS), "milliseconds": {}, "remembered": True}]
    assert weights_hash(tmp_path / "stopped") == weights_hash(tmp_path / "whole")


def test_a_run_is_probed_once_whatever_the_processor_claims(
    tmp_path: Path, shapes: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS")
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: True)
    spec = build_spec("shapes100", "baseline-cnn", OVERRIDES)
    (values,) = run(tmp_path / "run", shapes, spec, tmp_path / "cache", [30, 60])
    chosen = Execution(values["precision"], values["channels_last"], values["threads"])
    tried = values["milliseconds"]
    assert "float32, channels_last" in {told.rpartition(", ")[0] for told in tried}
    stored = Verdicts(tmp_path / "cache").get(workload(spec))
    if stored is not None:  # no other process was busy, so the verdict can be relied on
        assert stored == Verdict(chosen, tried)
        alike = [took for told, took in tried.items() if told.rpartition(", ")[2] == str(chosen).rpartition(", ")[2]]
        assert tried[str(chosen)] <= HOPELESS * min(alike)  # each comparison was made at another time


def test_what_the_user_has_chosen_stays(tmp_path: Path, shapes: Path) -> None:
    spec = build_spec("shapes100", "baseline-cnn", {**OVERRIDES, "precision": "float32", "threads": 1})
    (values,) = run(tmp_path / "run", shapes, spec, None, [])
    assert (values["precision"], values["threads"]) == ("float32", 1)
    # The second one is left out if it takes much longer.
    assert set(values["milliseconds"]) <= {"float32, channels_last, 1 thread", "float32, contiguous, 1 thread"}
