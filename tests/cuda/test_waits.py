"""Between two logged steps, the training loop never waits for the device."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.cuda.conftest import Device
from tests.cuda.log import Event, Log
from tests.gpu.cases import Case, data_paths

STEPS = 40
CASES = data_paths(max_steps=STEPS, batch_size=50, log_every=10)
SEARCH = {"cudaDeviceSynchronize", "cudaEventSynchronize"}  # how torch.backends.cudnn.benchmark waits
NEW_SIZES = {"fast": 1}  # unlogged steps that are the first ones with images of another size


@dataclass(frozen=True)
class Step:
    """The functions that waited for the device in one step, and whether the step recorded values."""

    waits: list[str]
    logged: bool


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
            steps.append(Step([], False))
        elif steps:
            events.append(event)
            waits = [e.detail for e in events if e.kind == "wait"]
            steps[-1] = Step(waits, any(e.kind == "mark" for e in events))
    return found


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_no_step_waits_for_the_device_between_logged_steps(
    case: Case, trained: tuple[dict[str, str], dict[str, list[Step]]]
) -> None:
    endings, steps = trained
    assert endings[case.name] == "finished"
    unlogged = [step for step in steps[case.name][1:STEPS] if not step.logged]
    assert len(unlogged) >= STEPS // 2
    searches = [step for step in unlogged if step.waits and set(step.waits) <= SEARCH]
    assert len(searches) == NEW_SIZES.get(case.name, 0)
    assert [step.waits for step in unlogged if step.waits and step not in searches] == []
