"""The training loop waits for the device at no step, not even at one that is logged."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.cuda.conftest import Device
from tests.cuda.log import Event, Log
from tests.gpu.cases import Case, data_paths

STEPS = 40
CASES = data_paths(max_steps=STEPS, batch_size=50, log_every=10)
LOGGED = 15 + 2  # of the steps below: each of 2 to 16, and 20 and 30


@dataclass(frozen=True)
class Step:
    """The functions that waited for the device in one step, and how many points were written in it."""

    waits: list[str]
    points: int


@pytest.fixture(scope="module")
def trained(
    library: Path, shapes: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[dict[str, str], dict[str, list[Step]]]:
    """How the run of each case ended, and its steps."""
    device = Device(library, tmp_path_factory.mktemp("waits"))
    endings = device.train(shapes, *CASES)
    return endings, steps_of(device.log)


def steps_of(log: Log) -> dict[str, list[Step]]:
    found: dict[str, list[Step]] = {}
    steps: list[Step] = []
    events: list[Event] = []
    for event in log.events("mark", "wait"):
        if event.kind == "mark" and event.detail.startswith("run "):
            steps = found[event.detail.removeprefix("run ")] = []
            events = []
        elif event.kind == "mark" and event.detail == "step":
            events = []
            steps.append(Step([], 0))
        elif steps:
            events.append(event)
            waits = [e.detail for e in events if e.kind == "wait"]
            steps[-1] = Step(waits, sum(e.kind == "mark" for e in events))
    return found


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_no_step_waits_for_the_device(case: Case, trained: tuple[dict[str, str], dict[str, list[Step]]]) -> None:
    endings, steps = trained
    assert endings[case.name] == "finished"
    taken = steps[case.name][1 : STEPS - 1]  # without the evaluation after the last one
    assert sum(step.points for step in taken) == LOGGED
    assert [step.waits for step in taken if step.waits] == []
