"""Default names: what differs from the preset, one word per setting, and what sets the members of a group apart."""

from __future__ import annotations

from typing import Any

import pytest

from app.runs.naming import default_name, member_name


@pytest.mark.parametrize(
    ("stem", "changed", "name"),
    [
        ("baseline-cnn", {"optimizer.lr": (1e-3, 3e-4), "epochs": (100, 3)}, "baseline-cnn lr3e-4 epochs3"),
        ("baseline-cnn lr0.1 epochs1", {"optimizer.lr": (0.1, 0.01)}, "baseline-cnn lr0.01 epochs1"),
        ("baseline-cnn-lr1e-4", {"optimizer.lr": (1e-4, 5e-4)}, "baseline-cnn lr5e-4"),
        ("my run lr0.1", {"optimizer.lr": (1e-3, 0.01)}, "my run lr0.1 lr0.01"),  # another lr than the parent's
        ("net wd5e-4", {"optimizer.weight_decay": (5e-4, 0.0)}, "net wd0"),
        ("net weight_decay5e-4", {"optimizer.weight_decay": (5e-4, 1e-3)}, "net wd1e-3"),  # an older version's word
        ("net", {"augment.flip": (False, True), "optimizer.name": ("adam", "sgd")}, "net flip sgd"),
        ("net flip sgd", {"augment.flip": (True, False), "optimizer.name": ("sgd", "adam")}, "net no-flip adam"),
        ("net max_steps30", {"max_steps": (30, None)}, "net"),
        ("net", {"model.widths": ([], [8, 16, 16])}, "net widths8-16-16"),
        ("net widths8-16-16", {"model.widths": ([8, 16, 16], [4, 4, 4])}, "net widths4-4-4"),
        ("baseline-cnn", {"model.name": ("cnn", "mlp")}, "baseline-cnn mlp"),
        ("net", {"optimizer.lr": (1e-3, 0.0012345)}, "net lr1.2345e-3"),
    ],
)
def test_a_name_has_one_word_per_setting(stem: str, changed: dict[str, tuple[Any, Any]], name: str) -> None:
    assert default_name(changed, stem) == name


def test_members_are_named_by_what_varies_also_where_it_is_the_presets_value() -> None:
    rates = [member_name({"optimizer.lr": rate, "seed": 0}, "baseline-cnn") for rate in (1e-4, 1e-3)]
    assert rates == ["baseline-cnn lr1e-4 seed0", "baseline-cnn lr1e-3 seed0"]
    assert len(default_name({"optimizer.lr": (1, 2)}, "x" * 200)) == 120
