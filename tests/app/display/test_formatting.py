"""The server and the browser write numbers alike: both read tests/js/format_cases.json."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from app.display import formatting
from app.display.sparkline import sparkline
from app.web.templates import clock

CASES: dict[str, list[list[Any]]] = json.loads(
    (Path(__file__).parents[2] / "js" / "format_cases.json").read_text("utf-8")
)
FUNCTIONS: dict[str, Any] = {
    "duration": formatting.duration,
    "number": formatting.number,
    "percent": formatting.percent,
    "interval": formatting.interval,
    "bytes": formatting.size,
    "setting": formatting.setting,
    "about": formatting.about,
    "ago": formatting.ago,
    "metric": formatting.metric,
}


def test_every_case_has_its_function() -> None:
    assert CASES.keys() == FUNCTIONS.keys()


@pytest.mark.parametrize(("name", "row"), [(name, row) for name, rows in CASES.items() for row in rows])
def test_reads_as_the_browser_has_it(name: str, row: list[Any]) -> None:
    assert FUNCTIONS[name](*row[:-1]) == row[-1]


def test_changes_are_told_in_short() -> None:
    changed = [
        {"field": "optimizer.lr", "from": 1e-3, "to": 1e-4},
        {"field": "augment.flip", "from": False, "to": True},
        {"field": "model.final_relu", "from": True, "to": False},
    ]
    assert formatting.changes_text(changed) == "lr 1e-3 → 1e-4 · +flip · −final relu"


def test_times_carry_their_moment() -> None:
    when = datetime(2026, 1, 2, 22, 41, tzinfo=UTC)
    expected = '<time datetime="2026-01-02T22:41:00+00:00" data-time="clock">22:41</time>'
    assert clock(when) == expected
    assert clock(when.timestamp()) == expected
    assert clock(None) == ""


def test_a_sparkline_spans_as_much_of_its_box_as_the_run_has_done() -> None:
    paths = sparkline({"step": [0, 50], "train": [2, 1], "val": [None, None]}, 100)
    assert (paths.train, paths.val) == ("M0.0 2.0L80.0 26.0", "")
    assert sparkline({}, 100).train == ""
    assert sparkline({"step": [1, 2], "train": [float("nan"), 1.0], "val": [None, None]}, 10).train == ""


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("val/acc", "validation accuracy"),
        ("last/test/balanced_acc", "test balanced accuracy, last weights"),
        ("init/test_loss", "test loss, untrained network"),
        ("suggested_lr", "suggested learning rate"),
        ("test/some_thing", "test some thing"),
    ],
)
def test_the_names_of_metrics(name: str, words: str) -> None:
    assert formatting.metric_name(name) == words


def test_a_probability_close_to_one_is_not_shown_as_one() -> None:
    texts = [formatting.probability(value) for value in (0.0, 0.5, 0.98347, 0.9949, 0.9999, 0.99995, 1.0)]
    assert texts == ["0", "0.5", "0.983", "0.9949", "0.9999", "0.99995", "1"]
