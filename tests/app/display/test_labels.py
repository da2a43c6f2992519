from __future__ import annotations

from app.display.labels import LABELS, SHORT_WORDS, by_heading, setting_label
from trainer.spec.preset import settable


def test_each_setting_has_a_label_of_its_own_under_one_heading() -> None:
    names = list(settable())
    assert {*LABELS, *SHORT_WORDS} <= set(names)
    assert len({setting_label(name) for name in names}) == len(names)
    assert sorted(name for under in by_heading(names).values() for name in under) == sorted(names)
