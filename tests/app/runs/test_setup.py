"""The command of the Setup tab, read as a shell and the command line read it."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

import pytest
import typer

from app.cli import main
from app.commands.assignments import parse_assignments
from app.runs.runs import Runs
from app.runs.setup import Decided, decided, setup_of
from tests.conftest import runs_in
from tests.finished_runs import finished_run
from trainer.plan.decisions import Decisions
from trainer.rundir.folder import RunDir
from trainer.spec.preset import build_spec
from trainer.spec.train_spec import TrainSpec


def trained_by(command: str) -> TrainSpec:
    """The spec that a pasted command trains."""
    program, name, *words = shlex.split(command)
    assert (program, name) == ("trackside", "train")
    group = typer.main.get_command(main)
    train = group.commands[name]  # type: ignore[attr-defined]
    given = train.make_context(name, words).params
    return build_spec(given["dataset"], given["preset"], parse_assignments(given["assignments"] or []))


@pytest.mark.parametrize(
    ("preset", "overrides"),
    [
        ("baseline-cnn", {}),
        ("baseline-cnn", {"optimizer.lr": 3e-4, "model.widths": [8, 16, 32], "augment.flip": True, "max_steps": 100}),
        ("baseline-cnn", {"optimizer.lr": 1 / 3000, "optimizer.weight_decay": 1.23456789e-5}),
        ("quick", {"budget.minutes": None, "augment.resolutions": [], "augment.resolution_until": []}),
        ("transfer", {"model.weights": 'it\'s "mine" $HOME `x`; *.pt'}),
        ("transfer", {"model.weights": "true"}),
        ("transfer", {"model.weights": "12"}),
        ("transfer", {"model.weights": " -x=1"}),
    ],
)
def test_the_command_trains_the_same_when_pasted(
    tmp_path: Path, shapes: Path, preset: str, overrides: dict[str, Any]
) -> None:
    with runs_in(tmp_path, shapes) as runs:
        spec = build_spec("shapes100", preset, overrides)
        run = stored(runs, spec)
        command = setup_of(run)[2]
        assert "\n" not in command
        assert trained_by(command) == spec


def stored(runs: Runs, spec: TrainSpec) -> Any:
    """A run with the spec. Weights of a launched run are a file; here they may be any text."""
    run = runs.get(finished_run(runs, [0.5]))
    values = {**spec.model_dump(mode="json"), "dataset": run.spec["dataset"]}
    return run.model_copy(update={"spec": values, "preset": spec.preset})


def test_what_was_decided_is_told_and_a_live_file_is_not_touched(tmp_path: Path) -> None:
    decisions = Decisions(tmp_path)
    decisions.take(0, "precision", dtype="float32")
    decisions.take(8, "plan", total=900)
    milliseconds = {"float32, channels_last, 2 threads": 3.5, "bfloat16, channels_last, 2 threads": 2.25}
    execution = {"precision": "bf16", "channels_last": True, "threads": 2}
    decisions.take(48, "execution", **execution, milliseconds=milliseconds, remembered=True)
    decisions.take(48, "compile", on=True)
    decisions.take(90, "compile", on=False)
    decisions.take(99, "wind-down")
    path = RunDir(tmp_path).decisions
    with path.open("ab") as file:
        file.write(b'{"step": 100, "ki')  # being written
    before = path.read_bytes()
    fastest_first = tuple(sorted(milliseconds.items(), key=lambda item: item[1]))
    assert decided(tmp_path) == (
        Decided(0, "float32"),
        Decided(48, "bfloat16, channels_last, 2 threads", fastest_first, remembered=True),
        Decided(48, "torch.compile on"),
        Decided(90, "torch.compile off"),
        Decided(99, "finish early: the learning rate falls to 0, then the test"),
    )
    assert path.read_bytes() == before
    path.write_bytes(b"[]\n")
    assert decided(tmp_path) == ()
