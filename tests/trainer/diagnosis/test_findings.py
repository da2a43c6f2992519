"""Runs that are broken on purpose get the expected finding, and healthy runs get none."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from trainer.data.format import open_split, read_record
from trainer.data.writer import DatasetWriter, write_dataset
from trainer.diagnosis.checks import CheckFailed
from trainer.loop import train
from trainer.points import TrainingDiverged
from trainer.rundir.creation import create_run_dir
from trainer.rundir.events import EventWriter, read_from
from trainer.rundir.hold import hold
from trainer.spec.preset import build_spec

CLASSES = 10
SMALL = {"batch_size": 32, "val_fraction": 0.25, "precision": "float32"}


@pytest.fixture(autouse=True)
def one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory, shapes: Path) -> Path:
    """Three datasets of ten classes: `few` (unchanged), `shuffled` (random labels) and `blank` (blank images)."""
    root = tmp_path_factory.mktemp("small")
    chance = np.random.default_rng(0)
    arrays = {split: few_of(shapes, split, each) for split, each in (("train", 40), ("test", 10))}
    dealt = {split: (images, chance.permutation(labels), files) for split, (images, labels, files) in arrays.items()}
    blank = {split: (np.zeros_like(images), labels, files) for split, (images, labels, files) in arrays.items()}
    classes = read_record(shapes, "shapes100").classes[:CLASSES]
    for name, content in (("few", arrays), ("shuffled", dealt), ("blank", blank)):
        write_dataset(root, name, arrays=content, classes=classes, source="test")  # type: ignore[arg-type]
    return root


def few_of(shapes: Path, split: Any, each: int) -> tuple[Any, Any, list[str]]:
    images, labels = open_split(shapes, "shapes100", split)
    rows = np.concatenate([np.flatnonzero(labels == label)[:each] for label in range(CLASSES)])
    return np.array(images[rows]), labels[rows], [f"{row}.png" for row in rows]


def new_run(folder: Path, root: Path, dataset: str, **overrides: Any) -> None:
    settings = SMALL | {name.replace("__", "."): value for name, value in overrides.items()}
    create_run_dir(folder, build_spec(dataset, "baseline-cnn", settings), read_record(root, dataset), {})


def attempt(folder: Path, root: Path, number: int = 1, stop_at: int | None = None) -> None:
    events = EventWriter(folder, number)
    looked = 0

    def should_stop() -> bool:
        nonlocal looked
        looked += 1
        return stop_at is not None and looked > stop_at

    try:
        train(folder, root, "cpu", number, events, should_stop)
    finally:
        events.close()


def findings(folder: Path, number: int = 1) -> dict[str, dict[str, Any]]:
    events = read_from(folder / "events" / f"{number}.jsonl", 0, 1 << 26)[0]
    found = [event for event in events if event["e"] == "finding"]
    assert len({event["kind"] for event in found}) == len(found), "each is told once"
    for event in events:
        if event["e"] == "finding_ended":
            next(item for item in found if item["kind"] == event["kind"])["ended"] = event["step"]
    return {event["kind"]: event for event in found}


def problems(folder: Path, number: int = 1) -> set[str]:
    """The problems that still hold at the end, without those that another one explains."""
    return {
        kind
        for kind, event in findings(folder, number).items()
        if event["level"] == "fail" and "ended" not in event and "cause" not in event["evidence"]
    }


def reviews(folder: Path) -> set[str]:
    return {kind for kind, event in findings(folder).items() if event["level"] == "look"}


def test_a_healthy_run_passes_its_checks_and_gets_no_findings(tmp_path: Path, small: Path) -> None:
    new_run(tmp_path / "r", small, "few", epochs=3)
    attempt(tmp_path / "r", small)
    found = findings(tmp_path / "r")
    assert problems(tmp_path / "r") == reviews(tmp_path / "r") == set()
    assert {kind for kind, event in found.items() if event["level"] == "pass"} == {
        "check/start_loss", "check/logits", "check/zeroed", "check/apart", "coverage",
    }  # fmt: skip
    assert found["check/start_loss"]["evidence"]["expected"] == pytest.approx(np.log(CLASSES))
    bars = found["check/apart"]["evidence"]["bars"]
    assert [index for index, value in enumerate(bars) if value] == [found["check/apart"]["evidence"]["example"]]
    sheet = found["check/input"]["evidence"]["sheet"]
    with Image.open(tmp_path / "r" / "artifacts" / "checks" / "input.png") as picture:
        assert picture.size == (32 * sheet["columns"], 64)


def test_checks_leave_the_run_as_it_would_have_been(tmp_path: Path, small: Path) -> None:
    losses = []
    for checks in ("off", "quick", "full"):
        new_run(tmp_path / checks, small, "few", max_steps=5, model__dropout=0.2, checks=checks)
        attempt(tmp_path / checks, small)
        events = read_from(tmp_path / checks / "events" / "1.jsonl", 0)[0]
        losses.append([e["v"]["train/loss"] for e in events if e["e"] == "metrics" and "train/loss" in e["v"]])
    assert losses[0] == losses[1] == losses[2]
    assert findings(tmp_path / "off").keys() == {"coverage"}


def test_full_checks_overfit_a_batch_and_train_a_blind_twin(tmp_path: Path, small: Path) -> None:
    new_run(tmp_path / "r", small, "few", max_steps=1, checks="full")
    attempt(tmp_path / "r", small)
    found = findings(tmp_path / "r")
    assert found["check/one_batch"]["level"] == found["check/twins"]["level"] == "pass"
    evidence = found["check/one_batch"]["evidence"]
    assert evidence["guesses"] == evidence["labels"]
    assert evidence["lines"]["loss"][1][-1] < 1e-3


def test_a_learning_rate_a_hundred_times_too_high(tmp_path: Path, small: Path) -> None:
    new_run(tmp_path / "r", small, "few", max_steps=40, optimizer__lr=0.1)
    attempt(tmp_path / "r", small)
    found = findings(tmp_path / "r")["lr_too_high"]
    assert (found["level"], found["step"]) == ("fail", 0)
    assert found["evidence"]["remedy"]["overrides"]["optimizer.lr"] in (0.01, 0.001)
    assert found["evidence"]["measured"] > found["evidence"]["threshold"]
    assert problems(tmp_path / "r") == {"lr_too_high"}


def test_a_loss_that_is_no_number_stands_below_its_cause(tmp_path: Path, small: Path) -> None:
    new_run(tmp_path / "r", small, "few", max_steps=40, optimizer__lr=10.0, optimizer__name="sgd", checks="off")
    with pytest.raises(TrainingDiverged):
        attempt(tmp_path / "r", small)
    found = findings(tmp_path / "r")
    assert found["lr_too_high"]["evidence"]["remedy"]["overrides"] == {"optimizer.lr": 1.0}
    assert found["diverged"]["evidence"]["cause"] == "lr_too_high"


def test_a_learning_rate_far_too_low(tmp_path: Path, small: Path) -> None:
    new_run(tmp_path / "r", small, "few", epochs=24, optimizer__lr=1e-6, model__widths=[6, 8, 8])
    attempt(tmp_path / "r", small)
    found = findings(tmp_path / "r")
    assert problems(tmp_path / "r") == {"lr_too_low"}
    assert found["lr_too_low"]["evidence"]["remedy"]["overrides"]["optimizer.lr"] in (1e-4, 1e-3, 1e-2)
    assert {kind for kind, event in found.items() if event["evidence"].get("cause") == "lr_too_low"}


def test_a_trial_of_a_search_is_not_investigated(tmp_path: Path, small: Path) -> None:
    new_run(tmp_path / "r", small, "few", epochs=24, optimizer__lr=1e-6, model__widths=[6, 8, 8])
    hold(tmp_path / "r", "end")
    attempt(tmp_path / "r", small)
    assert "lr_too_low" not in findings(tmp_path / "r")


def test_dropout_is_blamed_and_not_the_rate(tmp_path: Path, small: Path) -> None:
    new_run(tmp_path / "r", small, "few", max_steps=20, model__dropout=0.95, model__widths=[6, 8, 8])
    attempt(tmp_path / "r", small)
    assert problems(tmp_path / "r") == {"dropout"}


@pytest.mark.parametrize(
    ("overrides", "kind"),
    [({"label_smoothing": 0.9}, "label_smoothing"), ({"batch_size": 2}, "small_batch"),
     ({"augment__cutout": 31}, "augmentation"),
     ({"model__name": "swift", "model__widths": [8, 8, 8], "optimizer__name": "muon", "optimizer__lr": 8.0},
      "lr_too_high")],
)  # fmt: skip
def test_settings_that_do_not_fit(tmp_path: Path, small: Path, overrides: dict[str, Any], kind: str) -> None:
    new_run(tmp_path / "r", small, "few", max_steps=1, **overrides)
    attempt(tmp_path / "r", small)
    assert kind in problems(tmp_path / "r")


def test_a_final_relu(tmp_path: Path, small: Path) -> None:
    new_run(tmp_path / "r", small, "few", max_steps=1, model__final_relu=True)
    attempt(tmp_path / "r", small)
    found = findings(tmp_path / "r")["check/logits"]
    assert found["level"] == "fail"
    assert found["evidence"]["remedy"]["overrides"] == {"model.final_relu": False}


def test_outputs_that_a_final_relu_cuts_to_zero_are_told_once(tmp_path: Path, small: Path) -> None:
    new_run(tmp_path / "r", small, "few", max_steps=1, model__name=f"{__name__}:make_cut")
    attempt(tmp_path / "r", small)
    found = findings(tmp_path / "r")
    assert problems(tmp_path / "r") == {"check/logits"}
    assert found["check/zeroed"]["evidence"]["cause"] == found["check/apart"]["evidence"]["cause"] == "check/logits"


def test_outputs_that_ignore_the_image_are_told_once_without_a_known_cause(tmp_path: Path, small: Path) -> None:
    new_run(tmp_path / "r", small, "few", max_steps=1, model__name=f"{__name__}:make_blind")
    attempt(tmp_path / "r", small)
    assert problems(tmp_path / "r") == {"check/zeroed"}
    assert findings(tmp_path / "r")["check/apart"]["evidence"]["cause"] == "check/zeroed"


def test_a_mix_along_the_batch_is_a_problem_of_its_own(tmp_path: Path, small: Path) -> None:
    new_run(tmp_path / "r", small, "blank", max_steps=1, model__name=f"{__name__}:make_mixing")
    attempt(tmp_path / "r", small)
    assert problems(tmp_path / "r") >= {"check/input", "check/apart"}


def test_blank_images_can_stop_the_run_before_its_first_step(tmp_path: Path, small: Path) -> None:
    new_run(tmp_path / "r", small, "blank", epochs=2, stop_on_failed_checks=True)
    with pytest.raises(CheckFailed, match="blank"):
        attempt(tmp_path / "r", small)
    new_run(tmp_path / "on", small, "blank", epochs=4)
    attempt(tmp_path / "on", small)
    assert problems(tmp_path / "on") == {"check/input"}
    assert findings(tmp_path / "on")["check/zeroed"]["evidence"]["cause"] == "check/input"


def test_labels_that_do_not_belong_are_told_of_once_whether_or_not_the_run_was_interrupted(
    tmp_path: Path, small: Path
) -> None:
    new_run(tmp_path / "whole", small, "shuffled", epochs=8)
    attempt(tmp_path / "whole", small)
    told = findings(tmp_path / "whole")["labels"]
    assert told["level"] == "fail"
    assert problems(tmp_path / "whole") == {"labels"}

    for name, stop_at in (("before", told["step"] - 20), ("after", told["step"] + 3)):
        new_run(tmp_path / name, small, "shuffled", epochs=8)
        attempt(tmp_path / name, small, 1, stop_at)
        attempt(tmp_path / name, small, 2)
        both = [findings(tmp_path / name, number).get("labels") for number in (1, 2)]
        assert [event["step"] for event in both if event is not None] == [told["step"]], name


def test_overfitting(tmp_path: Path, small: Path) -> None:
    new_run(tmp_path / "r", small, "few", epochs=16)
    attempt(tmp_path / "r", small)
    found = findings(tmp_path / "r")["overfitting"]
    assert found["evidence"]["remedy"]["overrides"] == {"augment.flip": True, "augment.crop": 4}
    assert found["evidence"]["unit"] == "%"
    lines = found["evidence"]["lines"]
    assert lines["training loss"][1][-1] < lines["training loss"][1][0]
    assert lines["validation loss"][1][-1] > min(lines["validation loss"][1])


def test_a_dead_network(tmp_path: Path, small: Path) -> None:
    new_run(tmp_path / "r", small, "few", epochs=18, model__name=f"{__name__}:make_dead")
    attempt(tmp_path / "r", small)
    found = findings(tmp_path / "r")
    assert problems(tmp_path / "r") == {"dead_units"}
    assert found["dead_units"]["step"] == 0
    assert found["dead_units"]["evidence"]["bars"] == [1.0]
    assert "relu (ReLU)" in found["dead_units"]["message"]
    for kind in ("check/zeroed", "check/apart"):
        assert (found[kind]["level"], found[kind]["evidence"]["cause"]) == ("fail", "dead_units")


def test_images_in_two_splits_are_found_and_left_out(tmp_path: Path, shapes: Path) -> None:
    arrays = {split: few_of(shapes, split, each) for split, each in (("train", 40), ("test", 10))}
    images, labels, files = arrays["train"]
    arrays["test"][0][:20] = images[:20]
    doubled = (
        np.concatenate([images, images[30:50]]),
        np.concatenate([labels, labels[30:50]]),
        [*files, *files[30:50]],
    )
    classes = read_record(shapes, "shapes100").classes[:CLASSES]
    write_dataset(
        tmp_path / "d", "leak", arrays={"train": doubled, "test": arrays["test"]}, classes=classes, source="test"
    )
    new_run(tmp_path / "r", tmp_path / "d", "leak", max_steps=1)
    attempt(tmp_path / "r", tmp_path / "d")
    assert problems(tmp_path / "r") == {"leak"}
    message = findings(tmp_path / "r")["leak"]["message"]
    assert "of 100 test images" in message
    new_run(tmp_path / "without", tmp_path / "d", "leak", max_steps=1, drop_duplicates=True)
    attempt(tmp_path / "without", tmp_path / "d")
    assert problems(tmp_path / "without") == set()


def test_groups_that_the_given_splits_part_are_a_problem(tmp_path: Path, shapes: Path) -> None:
    root, classes = tmp_path / "d", read_record(shapes, "shapes100").classes[:CLASSES]
    for name, shift in (("whole", 400), ("parted", 380)):
        with DatasetWriter(root, name, size=32) as writer:
            for split, each, first in (("train", 40, 0), ("test", 10, shift)):
                images, labels, files = few_of(shapes, split, each)
                writer.create_images(split, len(images))[:] = images  # type: ignore[arg-type]
                writer.set_labels(split, labels, files)  # type: ignore[arg-type]
                writer.set_groups(split, (np.arange(len(labels)) + first) // 10)  # type: ignore[arg-type]
            writer.commit(classes=classes, source="test", groups=[f"site {number}" for number in range(50)])
        new_run(tmp_path / name, root, name, max_steps=1)
        attempt(tmp_path / name, root)
    assert problems(tmp_path / "whole") == set()
    assert problems(tmp_path / "parted") == {"shared_groups"}
    assert "2 of 50 groups" in findings(tmp_path / "parted")["shared_groups"]["message"]


class Dead(nn.Module):
    """A network with dead ReLUs: only the bias of the last layer has a gradient."""

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.first = nn.Linear(3 * 32 * 32, 64)
        nn.init.constant_(self.first.bias, -1e3)
        self.relu = nn.ReLU()
        self.head = nn.Linear(64, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.head(self.relu(self.first(x.flatten(1))))
        return logits


def make_dead(num_classes: int, image_size: int) -> nn.Module:
    return Dead(num_classes)


class Odd(nn.Module):
    """A linear network whose outputs are changed by `change`."""

    def __init__(self, num_classes: int, change: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.head = nn.Linear(3 * 32 * 32, num_classes)
        self.change = change

    def forward(self, x: Tensor) -> Tensor:
        return self.change(self.head(x.flatten(1)))


def make_cut(num_classes: int, image_size: int) -> nn.Module:
    return Odd(num_classes, lambda logits: (logits - 1e3).relu())


def make_blind(num_classes: int, image_size: int) -> nn.Module:
    return Odd(num_classes, lambda logits: 0 * logits + torch.linspace(-0.1, 0.1, num_classes))


def make_mixing(num_classes: int, image_size: int) -> nn.Module:
    return Odd(num_classes, lambda logits: logits + logits.mean(0, keepdim=True))
