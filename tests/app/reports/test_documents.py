"""What becomes of a report's blocks, and how the series of a run are put into charts."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from app.reports.blocks import ChartBlock, Prose, TableBlock, blocks_of
from app.reports.documents import Chart, Table, charts_of, document_of
from app.runs.runs import Runs
from tests.conftest import runs_in
from tests.finished_runs import finished_run


@pytest.fixture
def runs(tmp_path: Path, shapes: Path) -> Iterator[Runs]:
    with runs_in(tmp_path, shapes) as found:
        yield found


def test_blocks_stand_between_texts() -> None:
    quoted = "> ```runs\n> find: x\n> ```\n"
    chart_block = "```chart\nfind: x\nseries: a, b\nseries: c\n```\n"
    text = f"one\n\n{chart_block}two\n```python\nchart\n```\n{quoted}\n~~~runs\nruns: a,b ,\n~~~"
    first, chart, between, table = blocks_of(text)
    assert isinstance(first, Prose)
    assert first.html == "<p>one</p>\n"
    assert isinstance(chart, ChartBlock)
    assert chart.series == ("a", "b", "c")
    assert isinstance(between, Prose)
    assert "two" in between.html
    assert "<blockquote>" in between.html  # a block within a quotation is quoted
    assert isinstance(table, TableBlock)
    assert table.runs == ("a", "b")
    assert blocks_of("") == []


def test_runs_are_named_or_found(runs: Runs) -> None:
    low, high = (finished_run(runs, [acc], name=f"run {acc}") for acc in (0.2, 0.6))
    text = f"""
```chart
runs: {low}, {high}, 0123456789
series: val/acc, train/loss
```
```runs
find: val/acc>0.1
sort: -val/acc
limit: 1
```
"""
    chart, table = document_of(blocks_of(text), runs)
    assert isinstance(chart, Chart)
    assert [(line.run.id, line.label, line.slot) for line in chart.lines] == [
        (low, "run 0.2 · val/acc", 0),
        (low, "run 0.2 · train/loss", 1),
        (high, "run 0.6 · val/acc", 2),
        (high, "run 0.6 · train/loss", 3),
    ]
    assert (chart.title, chart.x, chart.missing, chart.more) == ("val/acc, train/loss", "epoch", ("0123456789",), 0)
    assert isinstance(table, Table)
    assert [run.id for run in table.runs] == [high]


def test_more_lines_than_a_chart_has(runs: Runs) -> None:
    run = finished_run(runs, [0.2])
    names = ", ".join(f"s{number}" for number in range(12))
    (chart,) = document_of(blocks_of(f"```chart\nruns: {run}, {run}\nseries: {names}\n```"), runs)
    assert isinstance(chart, Chart)
    assert (len(chart.lines), chart.more) == (12, 0)  # a run that is named twice is drawn once


def test_the_series_of_a_metric_share_a_chart(runs: Runs) -> None:
    run = runs.get(finished_run(runs, [0.2]))
    names = ["train/loss", "val/loss", "val/acc", "val/f1", "lr", "train_iou", "val_iou", "entropy/train", "x"]
    found = [(chart.title, [line.series for line in chart.lines]) for chart in charts_of(run, names)]
    assert found == [
        ("Loss", ["train/loss", "val/loss"]),
        ("Accuracy", ["val/acc"]),
        ("Learning rate", ["lr"]),
        ("f1", ["val/f1"]),
        ("iou", ["train_iou", "val_iou"]),
        ("entropy", ["entropy/train"]),
        ("x", ["x"]),
    ]
    assert len(charts_of(run, [f"s{number}" for number in range(100)])) == 24
