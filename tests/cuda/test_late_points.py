"""A training point is written when the device has computed it, some steps later, and before what depends on it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.conftest import NARROW
from tests.cuda.conftest import Device
from tests.gpu.cases import Case
from trainer.rundir.events import read_from

RUN = {
    **NARROW,
    "epochs": 2,
    "batch_size": 200,
    "log_every": 5,
    "compile": "off",
    "checks": "off",
    "track_gradients": False,
}
LATE = 7  # queries that find a point not computed


def events_of(device: Device, name: str) -> list[dict[str, Any]]:
    return read_from(device.folder / name / "events" / "2.jsonl", 0, 1 << 26)[0]


def points_of(events: list[dict[str, Any]]) -> list[tuple[int, dict[str, Any]]]:
    """The steps and values of the training points, without the measured speed."""
    found = [(event["step"], event["v"]) for event in events if "train/loss" in event.get("v", {})]
    return [(step, {name: value for name, value in values.items() if name != "throughput"}) for step, values in found]


def steps_when_written(device: Device) -> dict[int, int]:
    """By the step of a run's points, the step in which each was written. Of one run in the log."""
    written: dict[int, int] = {}
    taken = 0
    for event in device.log.events("mark"):
        taken += event.detail == "step"
        if event.detail.startswith("metrics "):
            written.setdefault(int(event.detail.removeprefix("metrics ")), taken)
    return written


def test_late_points_are_the_same_points(device: Device, shapes: Path) -> None:
    assert device.train(shapes, Case("in time", RUN)) == {"in time": "finished"}
    assert all(step == written for step, written in steps_when_written(device).items())
    device.log.path.unlink()
    device.settings = {"FAKE_CUDA_LATE": str(LATE)}
    assert device.train(shapes, Case("late", RUN)) == {"late": "finished"}
    delays = [written - step for step, written in steps_when_written(device).items()]
    assert max(delays) >= 3
    events = events_of(device, "late")
    points = points_of(events)
    assert points == points_of(events_of(device, "in time"))
    assert [step for step, _ in points] == sorted(step for step, _ in points)
    for index, event in enumerate(events):
        if event["e"] in ("epoch", "checkpoint"):
            assert [step for step, _ in points_of(events[index:]) if step <= event["step"]] == []


def test_a_late_loss_that_is_not_finite_ends_the_run_at_its_step(device: Device, shapes: Path) -> None:
    device.settings = {"FAKE_CUDA_LATE": str(LATE), "FAKE_CUDA_RESULT": "tests.cuda.train=nan"}
    ending = device.train(shapes, Case("nan", RUN))["nan"]
    assert ending.startswith("TrainingDiverged")
    assert "step 1:" in ending
    assert points_of(events_of(device, "nan"))[-1] == (1, {"train/loss": "NaN", "train/acc": "NaN", "lr": 0.001})
    assert max(steps_when_written(device).values()) > 1
