"""Overrides that are texts: from the API, from `--set`, from a form."""

from __future__ import annotations

import pytest

from app.commands.assignments import parse_assignments
from trainer.spec.numbers import ambiguity
from trainer.spec.preset import SpecError, build_spec, number_type


@pytest.mark.parametrize(
    ("text", "integer", "meant"),
    [
        ("0,2", False, "write 0.2"),
        (",5", False, "write 0.5"),
        ("1,5e-4", False, "write 1.5e-4"),
        ("1,000", False, "write 1000 or 1.000"),
        ("1.000,5", False, "write 1000.5"),
        ("1,000.5", False, "write 1000.5"),
        ("1.000", True, "write 1000 or 1"),
        ("12.500", True, "write 12500"),
        ("1,000,000", True, "write 1000000"),
    ],
)
def test_texts_that_can_be_read_in_two_ways(text: str, integer: bool, meant: str) -> None:
    assert (ambiguity(text, integer=integer) or "").endswith(meant)


@pytest.mark.parametrize("text", ["0.2", "1e-4", "1.000", "1000", "-1", "0.125", "cnn", "", "nan", "1_000"])
def test_other_texts_are_left_to_the_spec(text: str) -> None:
    assert ambiguity(text, integer=False) is None


def test_fields_say_which_numbers_they_take() -> None:
    assert {name: number_type(name) for name in ("epochs", "max_steps", "model.widths")} == dict.fromkeys(
        ("epochs", "max_steps", "model.widths"), int
    )
    floats = ("augment.mixup", "budget.minutes", "schedule.milestones", "augment.resolution_until")
    assert {name: number_type(name) for name in floats} == dict.fromkeys(floats, float)
    others = ("model.name", "optimizer.name", "augment.flip", "compile", "no.such", "model")
    assert {name: number_type(name) for name in others} == dict.fromkeys(others)


@pytest.mark.parametrize(
    ("name", "text"),
    [("epochs", "1.000"), ("max_steps", "10.000"), ("augment.mixup", "0,2"), ("budget.minutes", "1,5")],
)
def test_an_override_or_assignment_is_refused_with_what_to_write(name: str, text: str) -> None:
    for overrides in ({name: text}, parse_assignments([f"{name}={text}"])):
        with pytest.raises(SpecError, match=r"can be read in two ways: write \d") as raised:
            build_spec("any", "baseline-cnn", overrides)
        assert list(raised.value.fields) == [f"overrides.{name}"]


def test_assignments_of_plain_numbers_are_numbers() -> None:
    found = parse_assignments(["epochs=1000", "optimizer.lr=1e-3", "augment.mixup=1.000", "model.widths=[8, 16]"])
    assert found == {"epochs": 1000, "optimizer.lr": 1e-3, "augment.mixup": 1.0, "model.widths": [8, 16]}
