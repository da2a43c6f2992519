"""Options of a run besides the network and the optimizer, each tested in a short real run."""

from __future__ import annotations

import math
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch
from torch import nn

from tests.conftest import NARROW
from tests.trainer.data.own_validation import make_own_validation
from trainer.data.format import open_split, read_record
from trainer.data.writer import write_dataset
from trainer.inference.classifier import load_classifier
from trainer.loop import Outcome, train
from trainer.models import checkpoint
from trainer.models.build import build_model
from trainer.models.device import DATA_LIMIT
from trainer.points import TrainingDiverged
from trainer.rundir.checkpoints import best_checkpoint, last_checkpoint, list_checkpoints
from trainer.rundir.creation import create_run_dir
from trainer.rundir.events import EventWriter, read_from
from trainer.rundir.folder import RunDir
from trainer.rundir.spec import read_spec
from trainer.spec.model_spec import ModelSpec
from trainer.spec.preset import build_spec

SWIFT = {"model.name": "swift", "model.widths": [8, 16, 16], "optimizer.name": "muon", "optimizer.lr": 0.05}


@pytest.fixture(autouse=True)
def one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")


def run(
    folder: Path, datasets: Path, overrides: dict[str, Any], *, dataset: str = "shapes100", preset: str = "baseline-cnn"
) -> Outcome:
    cheap = {"checks": "off", **({} if "model.name" in overrides or preset != "baseline-cnn" else NARROW)}
    create_run_dir(folder, build_spec(dataset, preset, {**cheap, **overrides}), read_record(datasets, dataset), {})
    events = EventWriter(folder, 1)
    outcome = train(folder, datasets, "cpu", 1, events, lambda: False)
    events.close()
    return outcome


def events_of(folder: Path, kind: str) -> list[dict[str, Any]]:
    return [event for event in read_from(folder / "events" / "1.jsonl", 0, 1 << 26)[0] if event["e"] == kind]


def series(folder: Path, name: str) -> list[float]:
    return [event["v"][name] for event in events_of(folder, "metrics") if name in event["v"]]


def model_hash(folder: Path) -> dict[str, torch.Tensor]:
    info = last_checkpoint(folder)
    assert info is not None
    return checkpoint.load(folder, info).part("model")


class Clock:
    """A clock of the test's own: what it reads does not depend on how busy the machine is."""

    def __init__(self) -> None:
        self._random = Random(1)
        self.now = 100.0

    def monotonic(self) -> float:
        self.now += self._random.uniform(0.1, 0.3)
        return self.now


def test_a_budget_of_minutes_ends_annealed_and_in_time(
    tmp_path: Path, few_shapes: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock()
    monkeypatch.setattr("trainer.loop.time", clock)
    monkeypatch.setattr("trainer.engine.moments.time", clock)
    overrides = {**SWIFT, "budget.minutes": 1, "batch_size": 128, "epochs": 500, "compile": "off"}
    run(tmp_path / "r", few_shapes, overrides, preset="quick")
    assert events_of(tmp_path / "r", "plan")
    assert 0.8 * 60 < clock.now - 100 < 1.05 * 60
    rates = series(tmp_path / "r", "lr")
    assert rates[0] == pytest.approx(0.05)
    assert rates[-1] < 0.05 * 0.05


def test_the_gradient_and_the_update_are_logged(tmp_path: Path, few_shapes: Path) -> None:
    run(tmp_path / "r", few_shapes, {"max_steps": 10})
    assert all(value > 0 for value in series(tmp_path / "r", "grad/norm"))
    assert all(0 < value < 0.5 for value in series(tmp_path / "r", "update/ratio"))
    run(tmp_path / "off", few_shapes, {"max_steps": 3, "track_gradients": False})
    assert series(tmp_path / "off", "grad/norm") == []


def test_each_epochs_answers_are_kept(tmp_path: Path, few_shapes: Path) -> None:
    run(tmp_path / "r", few_shapes, {"epochs": 2})
    kept = sorted((tmp_path / "r" / "artifacts" / "val").iterdir())
    assert [path.name for path in kept] == ["00000028.safetensors", "00000056.safetensors"]
    answers = safetensors.torch.load_file(kept[-1])
    labels = open_split(few_shapes, "shapes100", "train")[1]
    right = answers["guess"].numpy() == labels[answers["row"].numpy()]
    assert right.mean() == pytest.approx(series(tmp_path / "r", "val/acc")[-1])
    assert np.allclose(answers["own"].numpy()[right], answers["top"].numpy()[right])
    assert kept[-1].stat().st_size < 400 * 12 + 500


def test_early_stopping_tests_the_best_epoch(tmp_path: Path, few_shapes: Path) -> None:
    overrides = {
        **NARROW,
        "epochs": 50,
        "optimizer.lr": 3e-3,
        "early_stopping": 2,
        "precision": "float32",
        "compile": "off",
    }
    outcome = run(tmp_path / "r", few_shapes, overrides)
    assert outcome.reason == "finished"
    assert outcome.step < 50 * 28
    assert outcome.step == outcome.summary["best/step"] + 2 * 28
    best, last = best_checkpoint(tmp_path / "r"), last_checkpoint(tmp_path / "r")
    assert best is not None
    assert last is not None
    assert (best.step, last.step) == (outcome.summary["best/step"], outcome.step)
    images, labels = open_split(few_shapes, "shapes100", "test")
    spec, record = read_spec(tmp_path / "r"), read_record(few_shapes, "shapes100")
    for name, info in (("test/acc", best), ("last/test/acc", last)):
        classifier = load_classifier(tmp_path / "r", info, spec, record, torch.device("cpu"))
        predicted = [likeliest[0].index for likeliest in classifier.predict(images, 1)]
        assert np.mean(np.asarray(predicted) == labels) == pytest.approx(outcome.summary[name], abs=1e-6)


def test_weights_that_are_not_finite_are_never_saved(tmp_path: Path, few_shapes: Path) -> None:
    """The rate is so high that the update of step 2 overflows, between two logged steps."""
    overrides = {**NARROW, "optimizer.name": "sgd", "optimizer.lr": 10, "log_every": 50, "checkpoint_minutes": 1e-6}
    with pytest.raises(TrainingDiverged):
        run(tmp_path / "r", few_shapes, {**overrides, "epochs": 3})
    for info in list_checkpoints(tmp_path / "r"):
        tensors = checkpoint.load(tmp_path / "r", info).tensors
        assert all(bool(torch.isfinite(value).all()) for value in tensors.values() if value.is_floating_point())


def test_a_range_test_breaks_and_suggests_a_rate(tmp_path: Path, few_shapes: Path) -> None:
    overrides = {"optimizer.name": "sgd", "optimizer.lr": 10, "schedule.name": "range_test", "epochs": 8}
    outcome = run(tmp_path / "r", few_shapes, {**overrides, "log_every": 1})
    assert "lr_range" in [finding["kind"] for finding in events_of(tmp_path / "r", "finding")]
    assert outcome.step < 8 * 28
    assert 1e-4 < outcome.summary["suggested_lr"] < 1


def test_the_mean_of_the_weights_is_what_is_evaluated_and_kept(tmp_path: Path, few_shapes: Path) -> None:
    overrides = {**SWIFT, "optimizer.ema": 0.9, "epochs": 2, "test_flip": True}
    outcome = run(tmp_path / "r", few_shapes, overrides)
    info = last_checkpoint(tmp_path / "r")
    assert info is not None
    loaded = checkpoint.load(tmp_path / "r", info)
    assert not torch.equal(loaded.part("model")["head.weight"], loaded.part("raw")["head.weight"])
    assert 0 <= outcome.summary["test/acc_flip"] <= 1


def test_uneven_classes_count_alike_where_it_is_asked_for(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    labels = np.repeat([0, 1, 2], [300, 60, 40])
    images = (rng.integers(0, 90, (400, 16, 16, 3)) + 80 * labels[:, None, None, None]).astype(np.uint8)
    files = [f"{i}.png" for i in range(400)]
    arrays: Any = {"train": (images, labels, files), "test": (images[::4], labels[::4], files[::4])}
    write_dataset(tmp_path / "d", "uneven", arrays=arrays, classes=["a", "b", "c"], source="test")
    overrides = {**SWIFT, "max_steps": 30, "class_weights": "balanced", "batch_size": 32}
    outcome = run(tmp_path / "r", tmp_path / "d", overrides, dataset="uneven")
    assert 1 / 3 < outcome.summary["test/balanced_acc"] <= 1
    assert series(tmp_path / "r", "train_clean/loss")


def test_half_precision_trains_with_a_scaler(tmp_path: Path, few_shapes: Path) -> None:
    run(
        tmp_path / "r", few_shapes, {**SWIFT, "precision": "fp16", "max_steps": 8, "batch_size": 8, "val_fraction": 0.0}
    )
    losses = series(tmp_path / "r", "train/loss")
    assert all(map(math.isfinite, losses))
    assert events_of(tmp_path / "r", "start")[0]["precision"] == "float16"


def test_images_that_do_not_fit_the_device_are_streamed_and_the_loop_cannot_tell(
    tmp_path: Path, few_shapes: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    overrides = {**SWIFT, "epochs": 2, "augment.crop": 2, "augment.flip": True, "augment.cutout": 6}
    overrides["sampling"] = "balanced"
    run(tmp_path / "resident", few_shapes, overrides)
    monkeypatch.setenv(DATA_LIMIT, "1000")
    run(tmp_path / "streamed", few_shapes, overrides)
    resident, streamed = model_hash(tmp_path / "resident"), model_hash(tmp_path / "streamed")
    assert all(torch.equal(resident[name], streamed[name]) for name in resident)


def test_winding_down_ends_early_and_annealed(tmp_path: Path, few_shapes: Path) -> None:
    folder = tmp_path / "r"
    create_run_dir(
        folder,
        build_spec("shapes100", "baseline-cnn", {**NARROW, "epochs": 40}),
        read_record(few_shapes, "shapes100"),
        {},
    )
    events = EventWriter(folder, 1)
    calls = 0

    def should_stop() -> bool:
        nonlocal calls
        calls += 1
        if calls == 70:
            RunDir(folder).finish_early.touch()
        return False

    outcome = train(folder, few_shapes, "cpu", 1, events, should_stop)
    events.close()
    assert outcome.reason == "finished"
    assert 69 + 28 <= outcome.step <= 71 + 28
    assert series(folder, "lr")[-1] < 1e-3 / 20
    assert "test/acc" in outcome.summary
    assert not RunDir(folder).finish_early.exists()


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A weights file of a network with 1000 classes."""
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("weights") / "resnet18.safetensors"
    safetensors.torch.save_file(build_model(ModelSpec(name="torchvision:resnet18"), 1000, 32).state_dict(), path)
    return path


def transfer(weights: Path, **more: Any) -> dict[str, Any]:
    return {
        "model.name": "torchvision:resnet18", "model.weights": str(weights), "model.input_size": 40, "epochs": 2,
        "batch_size": 400, "val_fraction": 0.02, **{name.replace("__", "."): value for name, value in more.items()},
    }  # fmt: skip


def test_a_frozen_backbones_features_are_computed_once(tmp_path: Path, few_shapes: Path, weights: Path) -> None:
    folder = tmp_path / "r"
    outcome = run(folder, few_shapes, transfer(weights, epochs=12), preset="transfer")
    kept = safetensors.torch.load_file(folder / "artifacts" / "features.safetensors")
    assert kept["train"].shape == (2000, 512)
    losses = series(folder, "train/loss")
    assert losses[-1] < losses[0]
    donor, trained = safetensors.torch.load_file(weights), model_hash(folder)
    assert all(torch.equal(donor[name], value) for name, value in trained.items() if not name.startswith("fc"))
    # The checkpoint contains the whole network, not only the head.
    model = build_model(build_spec("d", "transfer", transfer(weights)).model, 100, 40)
    model.load_state_dict(trained)
    assert math.isfinite(outcome.summary["test/loss"])
    assert outcome.summary["init/test_loss"] == pytest.approx(math.log(100), rel=0.15)
    assert 0 < outcome.summary["test/knn_acc"] < 1


def test_features_of_own_validation_images_are_computed_too(tmp_path: Path, weights: Path) -> None:
    make_own_validation(tmp_path / "d")
    overrides = transfer(weights, epochs=3, batch_size=8)
    run(tmp_path / "r", tmp_path / "d", overrides, preset="transfer", dataset="own")
    kept = safetensors.torch.load_file(tmp_path / "r" / "artifacts" / "features.safetensors")
    assert {name: len(found) for name, found in kept.items()} == {"train": 32, "val": 10, "test": 9}
    assert len(series(tmp_path / "r", "val/acc")) == 3


def test_a_backbone_is_frozen_then_unfrozen(tmp_path: Path, few_shapes: Path, weights: Path) -> None:
    overrides = transfer(weights, augment__flip=True, model__unfreeze_epoch=1, model__input_size=0, max_steps=4)
    run(tmp_path / "frozen", few_shapes, overrides, preset="transfer")
    donor = safetensors.torch.load_file(weights)
    trained = model_hash(tmp_path / "frozen")
    assert torch.equal(trained["layer1.0.conv1.weight"], donor["layer1.0.conv1.weight"])
    assert torch.equal(trained["bn1.running_mean"], donor["bn1.running_mean"])
    run(tmp_path / "thawed", few_shapes, {**overrides, "max_steps": 6}, preset="transfer")
    assert not torch.equal(model_hash(tmp_path / "thawed")["layer1.0.conv1.weight"], donor["layer1.0.conv1.weight"])


def make_tiny(num_classes: int, image_size: int) -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(3 * image_size**2, num_classes))


def test_a_network_of_ones_own_trains(tmp_path: Path, few_shapes: Path) -> None:
    outcome = run(tmp_path / "r", few_shapes, {"model.name": f"{__name__}:make_tiny", "max_steps": 5})
    assert outcome.reason == "finished"
