"""Numbers in the launch form with a comma or with separators of thousands."""

from __future__ import annotations

import pytest

from app.web.launch.form import split_variants
from trainer.spec.preset import SpecError


@pytest.mark.parametrize(
    ("name", "text", "question"),
    [
        ("augment.mixup", "0,2", "0.2, or two runs with 0 and 2? Write 0.2 or '0, 2'."),
        ("optimizer.lr", "1,5e-4", "1.5e-4, or two runs with 1 and 5e-4? Write 1.5e-4 or '1, 5e-4'."),
        ("budget.minutes", "1,000", "1000, 1.000, or two runs with 1 and 000? Write 1000 or 1.000 or '1, 000'."),
        ("budget.minutes", ",5", ",5: write 0.5."),
        ("epochs", "1,5", "Two runs with 1 and 5? Write '1, 5'."),
        ("epochs", "1,000", "1000, or two runs with 1 and 000? Write 1000 or '1, 000'."),
        ("epochs", "1.000", "1.000: write 1000 or 1."),
        ("epochs", "1.000, 2.000", "1.000: write 1000 or 1."),
        ("epochs", "1.000,2.000", "1.000: write 1000 or 1."),
        ("epochs", "1.000..5.000", "1.000: write 1000 or 1."),
        ("max_steps", "1,000,000", "1,000,000: write 1000000."),
        ("augment.mixup", "0,2; 0,4", "0,2: write 0.2."),
        ("augment.mixup", "0,2, 0,4", "0,2: write 0.2."),
        ("augment.mixup", "0,1..0,5", "0,1: write 0.1."),
        ("schedule.milestones", "0,5", "0.5, or the list 0, 5? Write 0.5 or '0, 5'."),
        ("schedule.milestones", "0,3, 0,6", "0,3: write 0.3."),
        ("model.widths", "8,16", "The list 8, 16? Write '8, 16'."),
        ("model.widths", "1.024", "1.024: write 1024."),
    ],
)
def test_a_number_that_can_be_read_in_two_ways_is_asked_about(name: str, text: str, question: str) -> None:
    with pytest.raises(SpecError) as raised:
        split_variants({name: text, "seed": "1"})
    assert raised.value.fields == {f"overrides.{name}": question}


@pytest.mark.parametrize(
    ("name", "text", "values"),
    [
        ("augment.mixup", "0, 2", [0, 2]),
        ("augment.mixup", "0.1,0.2", [0.1, 0.2]),
        ("optimizer.lr", "1e-4,3e-4", [1e-4, 3e-4]),
        ("batch_size", "128,256,512", [128, 256, 512]),
        ("seed", "0, 1,2", [0, 1, 2]),
        ("model.widths", "8,16,16; 16,32,32", [[8, 16, 16], [16, 32, 32]]),
    ],
)
def test_values_that_can_be_read_in_one_way_are_variants(name: str, text: str, values: list[object]) -> None:
    assert split_variants({name: text}) == ({}, {name: values})


@pytest.mark.parametrize("name", ["model.weights", "no.such.field"])
def test_fields_without_numbers_may_hold_commas(name: str) -> None:
    assert split_variants({name: "0,2"}) == ({name: "0,2"}, {})
