from __future__ import annotations

from typing import Any

import pytest
from pydantic import BaseModel

from trainer.spec.preset import SpecError, build_spec, differences, flatten, presets
from trainer.spec.train_spec import TrainSpec

BASELINES = {
    "baseline-mlp", "baseline-cnn", "baseline-cnn-lr1e-4", "baseline-cnn-lr2.5e-4", "baseline-cnn-first",
    "baseline-cnn-regularised", "baseline-cnn-sgd",
}  # fmt: skip


def parts(model: type[BaseModel]) -> list[type[BaseModel]]:
    found = [model]
    for field in model.model_fields.values():
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            found += parts(field.annotation)
    return found


def test_every_setting_says_why_it_is_there() -> None:
    for part in parts(TrainSpec):
        for name, field in part.model_fields.items():
            nested = isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel)
            assert nested or field.description, f"{part.__name__}.{name}"


def test_every_preset_builds_and_the_origins_are_there() -> None:
    assert set(presets()) >= BASELINES
    for name in presets():
        assert build_spec("shapes100", name).preset == name


def test_the_baselines_are_the_origins() -> None:
    first = build_spec("d", "baseline-cnn-first")
    assert (first.batch_size, first.optimizer.lr, first.epochs) == (128, 1e-5, 100)
    sgd = build_spec("d", "baseline-cnn-sgd")
    assert (sgd.optimizer.name, sgd.optimizer.momentum, sgd.batch_size, sgd.epochs) == ("sgd", 0.9, 32, 65)
    mlp = build_spec("d", "baseline-mlp")
    assert (mlp.overfit_one_batch, mlp.epochs, mlp.optimizer.lr) == (True, 1000, 1e-4)


def test_overrides_are_dotted_and_show_as_differences() -> None:
    base, spec = build_spec("d", "baseline-cnn"), build_spec("d", "baseline-cnn", {"optimizer.lr": 3e-4, "epochs": 2})
    assert differences(spec, base) == {"optimizer.lr": (1e-3, 3e-4), "epochs": (100, 2)}
    assert flatten(spec)["augment.flip"] is False


@pytest.mark.parametrize(
    ("overrides", "field"),
    [
        ({"optimizer.lr": float("nan")}, "overrides.optimizer.lr"),
        ({"optimizer.lr": float("inf")}, "overrides.optimizer.lr"),
        ({"epochs": 1.5}, "overrides.epochs"),
        ({"nothing": 1}, "overrides.nothing"),
        ({"optimizer.lr.deeper": 1}, "overrides.optimizer.lr.deeper"),
        ({"optimizer.lr": 0}, "overrides.optimizer.lr"),
        ({"optimizer.lr": 10.1}, "overrides.optimizer.lr"),
        ({"optimizer.momentum": 1}, "overrides.optimizer.momentum"),
        ({"optimizer.name": "lion"}, "overrides.optimizer.name"),
        ({"optimizer": {}}, "overrides.optimizer"),
        ({"model.widths": [64, 0]}, "overrides.model.widths.1"),
        ({"model.widths": [1] * 9}, "overrides.model.widths"),
        ({"augment.resolutions": [4], "augment.resolution_until": [0.5]}, "overrides.augment.resolutions.0"),
        ({"augment.resolutions": [20.5], "augment.resolution_until": [0.5]}, "overrides.augment.resolutions.0"),
        ({"augment.resolutions": [0], "augment.resolution_until": [0.5]}, "overrides.augment.resolutions.0"),
        ({"augment.rotation": 181}, "overrides.augment.rotation"),
        ({"augment.hue": 0.51}, "overrides.augment.hue"),
        ({"augment.resized_crop": 1}, "overrides.augment.resized_crop"),
        ({"val_fraction": 0.51}, "overrides.val_fraction"),
        ({"seed": -1}, "overrides.seed"),
        ({"seed": 2**63}, "overrides.seed"),
        ({"checkpoint_minutes": 0}, "overrides.checkpoint_minutes"),
        ({"preset": "other"}, "overrides.preset"),
        ({"dataset.name": "other"}, "overrides.dataset.name"),
        ({"dataset": "other"}, "overrides.dataset"),
        ({"": 1}, "overrides."),
        ({"model.": 1}, "overrides.model."),
    ],
)
def test_what_is_wrong_is_named(overrides: dict[str, Any], field: str) -> None:
    with pytest.raises(SpecError) as caught:
        build_spec("d", "baseline-cnn", overrides)
    assert list(caught.value.fields) == [field]


@pytest.mark.parametrize(
    ("overrides", "field", "value"),
    [
        ({"optimizer.lr": 10}, "optimizer.lr", 10),
        ({"seed": 2**63 - 1}, "seed", 2**63 - 1),
        ({"val_fraction": 0}, "val_fraction", 0),
        ({"max_steps": None}, "max_steps", None),
        ({"model.widths": [1] * 8}, "model.widths", [1] * 8),
        ({"model.widths": []}, "model.widths", []),
    ],
)
def test_the_bounds_themselves_are_taken(overrides: dict[str, Any], field: str, value: Any) -> None:
    spec = build_spec("d", "baseline-cnn", overrides)
    assert flatten(spec)[field] == value
    assert TrainSpec.model_validate_json(spec.model_dump_json()) == spec


def test_resolutions_in_pixels_stay_whole_numbers() -> None:
    spec = build_spec("d", "quick", {"augment.resolutions": [0.5, 20], "augment.resolution_until": [0.2, 0.5]})
    assert list(spec.augment.resolutions) == [0.5, 20]
    assert '"resolutions":[0.5,20]' in spec.model_dump_json()
    assert TrainSpec.model_validate_json(spec.model_dump_json()) == spec


def test_all_that_is_wrong_is_named_at_once() -> None:
    with pytest.raises(SpecError) as caught:
        build_spec("d", "baseline-cnn", {"epochs": 0, "optimizer.lr": -1})
    assert set(caught.value.fields) == {"overrides.epochs", "overrides.optimizer.lr"}


@pytest.mark.parametrize(("dataset", "preset", "field"), [("", "baseline-cnn", "dataset"), ("d", "none", "preset")])
def test_a_data_set_and_a_preset_are_named_as_asked(dataset: str, preset: str, field: str) -> None:
    with pytest.raises(SpecError) as caught:
        build_spec(dataset, preset)
    assert list(caught.value.fields) == [field]


def test_overrides_leave_the_preset_as_it_was() -> None:
    build_spec("d", "baseline-cnn", {"optimizer.lr": 0.5, "epochs": 1})
    assert build_spec("d", "baseline-cnn").optimizer.lr == 1e-3


@pytest.mark.parametrize(
    ("dataset", "same"),
    [
        ({}, False),  # a run of an earlier version
        ({"split_seed": "dataset"}, True),
        ({"split_seed": 7}, True),
        ({"sha256": {"val.images.npy": "0", "train.images.npy": "1"}}, True),
    ],
)
def test_whether_runs_with_other_seeds_are_validated_on_the_same_images(dataset: dict[str, Any], same: bool) -> None:
    specs = [TrainSpec.model_validate({"dataset": {"name": "d", **dataset}, "seed": seed}) for seed in (0, 1)]
    assert (specs[0].validated_on == specs[1].validated_on) is same
    more = TrainSpec.model_validate({"dataset": {"name": "d", **dataset}, "val_fraction": 0.2})
    assert (more.validated_on == specs[0].validated_on) is specs[0].dataset.has_validation


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("lr", "optimizer.lr"), ("optimzer.lr", "optimizer.lr"), ("augment.mixpu", "augment.mixup"),
        ("epoch", "epochs"), ("optimizer.rate", None), ("zzz", None), ("dataset.name", None),
    ],
)  # fmt: skip
def test_a_mistyped_field_is_answered_with_the_one_that_was_meant(written: str, meant: str | None) -> None:
    with pytest.raises(SpecError) as caught:
        build_spec("d", "quick", {written: 1})
    hint = f"; did you mean {meant}?" if meant else ""
    assert caught.value.fields == {f"overrides.{written}": f"unknown field{hint}"}
    with pytest.raises(SpecError, match="did you mean baseline-cnn"):
        build_spec("d", "bsaeline-cnn", {})


@pytest.mark.parametrize("pair", [{"crop": 4, "resized_crop": 0.3}, {"trivial": True, "randaugment": 2}])
def test_of_two_augmentations_that_do_the_same_one_is_chosen(pair: dict[str, Any]) -> None:
    with pytest.raises(SpecError) as caught:
        build_spec("d", "baseline-cnn", {f"augment.{name}": value for name, value in pair.items()})
    assert set(caught.value.fields) == {f"overrides.augment.{name}" for name in pair}


def test_a_spec_of_an_earlier_version_means_the_same() -> None:
    values = build_spec("d", "strong").model_dump(mode="json")
    for name in ("resized_crop", "vertical_flip", "rotation", "brightness", "contrast", "saturation", "hue", "blur"):
        assert not values["augment"].pop(name)
    assert not values["augment"].pop("randaugment")
    del values["augment"]["randaugment_magnitude"]
    assert TrainSpec.model_validate(values) == build_spec("d", "strong")


def test_a_spec_with_former_thresholds_is_read() -> None:
    values = build_spec("d", "quick").model_dump(mode="json")
    assert TrainSpec.model_validate({**values, "thresholds": {**values["thresholds"], "flips": 0.3}}) == (
        TrainSpec.model_validate(values)
    )
