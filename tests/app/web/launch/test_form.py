from __future__ import annotations

import pytest

from app.web.launch.form import parse_overrides, setting_groups, typed_from
from trainer.spec.preset import build_spec, flatten, presets


def test_each_setting_has_one_field_with_its_why_and_the_presets_value() -> None:
    for preset in presets():
        fields = [field for group in setting_groups("any", preset, {}, {}) for field in group.fields]
        assert sorted(field.name for field in fields) == sorted(flatten(build_spec("any", preset)))
        assert all(field.why for field in fields)
        assert all(field.placeholder for field in fields)


def test_an_empty_field_takes_the_presets_value() -> None:
    assert parse_overrides({"epochs": "", "optimizer.lr": "  ", "seed": "3"}) == {"seed": 3}


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("optimizer.lr", "3e-4", 3e-4),
        ("optimizer.lr", ".5", 0.5),
        ("epochs", "12", 12),
        ("augment.flip", "true", True),
        ("model.widths", "64, 128", [64, 128]),
        ("optimizer.name", "sgd", "sgd"),
        ("optimizer.lr", "nan", "nan"),
        ("optimizer.lr", "1e9999", "1e9999"),
        ("optimizer.lr", "infinity", "infinity"),
    ],
)
def test_text_becomes_a_value_or_stays_text(name: str, text: str, value: object) -> None:
    assert parse_overrides({name: text}) == {name: value}


def test_a_run_fills_the_form_that_makes_it_again() -> None:
    overrides = {
        "optimizer.lr": 2.5e-5, "augment.flip": True, "model.widths": [8, 16, 32], "max_steps": 100, "epochs": 7,
    }  # fmt: skip
    spec = build_spec("any", "baseline-cnn", overrides)
    assert build_spec("any", "baseline-cnn", parse_overrides(typed_from(spec))) == spec


def test_what_is_typed_and_what_is_wrong_stand_in_their_field() -> None:
    groups = setting_groups("any", "baseline-cnn", {"augment.crop": "x"}, {"augment.crop": "is no number"})
    group = next(group for group in groups if group.title == "Augmentation")
    assert group.touched
    field = next(field for field in group.fields if field.name == "augment.crop")
    assert (field.value, field.error) == ("x", "is no number")
    assert not any(other.touched for other in groups if other is not group)
