"""How long and how much, from runs that were trained here."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from app.prediction.client import Description
from app.runs.estimates import BASE, Pace, estimated, measured, memory
from trainer.data.format import read_record
from trainer.plan.schedule import make_plan
from trainer.spec.model_spec import ModelSpec
from trainer.spec.preset import build_spec
from trainer.spec.train_spec import TrainSpec


def spec(**overrides: object) -> TrainSpec:
    return build_spec("d", "baseline-cnn", {name.replace("__", "."): value for name, value in overrides.items()})


def test_runs_of_the_same_work_are_what_is_measured() -> None:
    known = [
        Pace(spec(seed=1), 0.3),
        Pace(spec(batch_size=8), 9.0),
        Pace(spec(optimizer__lr=1e-4), 0.1),
        Pace(spec(), 0.2),
    ]
    assert measured(spec(epochs=7), known) == pytest.approx(0.2)
    assert measured(spec(batch_size=16), known) is None


def test_others_are_scaled_by_their_operations(shapes: Path) -> None:
    record = read_record(shapes, "shapes100")
    sizes = {"cnn": 100, "mlp": 1000, "resnet18": 900}

    async def describe(model: ModelSpec, classes: int, size: int) -> Description:
        return Description(parameters=1, flops=sizes[model.name], saved_bytes=1)

    known = [Pace(spec(batch_size=10), 1.0), Pace(build_spec("d", "baseline-mlp", {"batch_size": 10}), 2.0)]
    new = build_spec("d", "resnet18", {"batch_size": 20})
    # The nearest in size is the MLP: 1000 operations of 10 images in 2 s.
    assert asyncio.run(estimated(new, 900, known, describe, record)) == pytest.approx(900 * 20 / 5000)
    assert asyncio.run(estimated(new, 900, [], describe, record)) is None


def test_memory_grows_with_batch_and_weights(shapes: Path) -> None:
    record = read_record(shapes, "shapes100")
    found = Description(parameters=1000, flops=1, saved_bytes=500)

    def of(**overrides: object) -> int:
        made = spec(compile="off", precision="float32", **overrides)
        return memory(made, found, record, make_plan(made, 100))

    images = 5000 * 32 * 32 * 3
    assert of(batch_size=8) == BASE + images + 4 * 1000 * 4 + 500 * 8
    assert of(batch_size=16) - of(batch_size=8) == 500 * 8
    assert of(optimizer__name="sgd", batch_size=8) == of(batch_size=8) - 4 * 1000
