"""Results: ranked recipes of one dataset, the reported numbers beside, and exports."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlmodel import col, select

from app.datasets.datasets import Datasets
from app.errors import ApiError
from app.results.export import as_csv, as_markdown
from app.results.ranking import finished_datasets, results
from app.results.reported import REPORTED
from app.results.reported_here import reported_here
from app.runs.runs import Runs
from app.storage.tables import Run
from app.web.results.view import results_page
from tests.conftest import runs_in
from tests.finished_runs import finished_run
from trainer.data.cifar100 import FINE_NAMES
from trainer.data.format import read_record
from trainer.spec.preset import presets
from trainer.spec.train_spec import SelectBy

FORMULA = '=HYPERLINK("http://x.example","y")'


@pytest.fixture
def runs(tmp_path: Path, shapes: Path) -> Iterator[Runs]:
    with runs_in(tmp_path, shapes) as runs:
        yield runs


def test_recipes_are_ranked_by_the_mean_over_their_seeds(runs: Runs) -> None:
    lucky = [finished_run(runs, [acc], overrides={"epochs": 1, "seed": seed}) for seed, acc in enumerate((0.6, 0.2))]
    steady = finished_run(runs, [0.3, 0.5])
    finished_run(runs, [0.9], end=False)
    table = results(runs.database, Datasets(runs.settings.datasets), "shapes100", 50)
    first, second = table.rows
    assert (first.selected, first.count, first.sd, first.best_epoch, first.val_loss) == (steady, 1, None, 2, 3.5)
    assert (first.test_loss, first.parameters) == (2.5, 123_456)
    assert first.test_acc == pytest.approx(0.49)
    assert first.test_half_width == pytest.approx(0.031, abs=1e-3)
    assert first.members == []
    assert (second.selected, second.count, second.best_acc) == (lucky[0], 2, 0.6)
    assert (second.mean, second.sd) == pytest.approx((0.4, 0.2828427))
    assert [(member.id, member.seed) for member in second.members] == [(lucky[0], 0), (lucky[1], 1)]
    assert (table.total, table.unranked, table.chance) == (2, 0, 0.01)
    assert [row.rank for row in results(runs.database, Datasets(runs.settings.datasets), "shapes100", 1).rows] == [1]
    assert finished_datasets(runs.database) == {"shapes100": 3}


def test_recipes_are_ranked_by_another_figure(runs: Runs) -> None:
    high = finished_run(runs, [0.5], summary={"best/macro_f1": 0.3, "best/loss": 2.0})
    even = finished_run(runs, [0.4], overrides={"batch_size": 32}, summary={"best/macro_f1": 0.35, "best/loss": 3.0})
    older = finished_run(runs, [0.3], overrides={"batch_size": 16}, summary={"best/loss": 4.0})
    datasets = Datasets(runs.settings.datasets)

    def order(by: SelectBy) -> list[str]:
        return [row.selected for row in results(runs.database, datasets, "shapes100", 50, by).rows]

    assert order("acc") == [high, even, older]
    assert order("macro_f1") == [even, high]
    assert order("loss") == [high, even, older]
    assert order("auc") == []
    table = results(runs.database, datasets, "shapes100", 50, "macro_f1")
    assert (table.unranked, table.by) == (1, "macro_f1")
    assert (table.rows[0].mean, table.rows[0].score, table.rows[0].best_acc) == (0.35, 0.35, 0.4)
    assert "| Model | Validation macro F1, % |" in as_markdown(table)
    page = results_page(runs.database, datasets, "shapes100", 50, "loss")
    assert [line.validation for line in page.lines] == ["2.000", "3.000", "4.000"]
    assert page.export("csv").endswith("format=csv&by=loss")


def test_a_run_that_was_finished_early_is_no_seed_of_the_others(runs: Runs) -> None:
    finished_run(runs, [0.5, 0.6])
    finished_run(runs, [0.5, 0.6], overrides={"epochs": 2, "seed": 1})
    with runs.database.write() as session:
        row = session.exec(select(Run).order_by(col(Run.key).desc())).first()
        assert row is not None
        row.total_steps = 17
    rows = results(runs.database, Datasets(runs.settings.datasets), "shapes100", 50).rows
    assert [row.count for row in rows] == [1, 1]


def test_a_page_says_what_is_there(runs: Runs) -> None:
    assert results_page(runs.database, Datasets(runs.settings.datasets), None, 50).table is None
    assert results_page(runs.database, Datasets(runs.settings.datasets), "shapes100", 50).lines == ()
    with pytest.raises(ApiError) as error:
        results_page(runs.database, Datasets(runs.settings.datasets), "nothing", 50)
    assert error.value.status == 404
    for seed in range(2):
        finished_run(runs, [0.5], overrides={"epochs": 1, "seed": seed})
    finished_run(runs, [0.4, 0.4])
    page = results_page(runs.database, Datasets(runs.settings.datasets), None, 1)
    (line,) = page.lines
    assert (line.validation, line.spread) == ("50.0", "± 0.0 (n = 2)")
    assert (line.test, line.test_interval) == ("49.0", "(45.9–52.1)")
    assert [(member.selected, member.test) for member in line.members] == [
        (True, "49.0%, loss 2.500"), (False, "49.0%, loss 2.500"),
    ]  # fmt: skip
    assert page.more == "/results?dataset=shapes100&limit=4"
    assert results_page(runs.database, Datasets(runs.settings.datasets), None, 50).more is None


def test_the_exports(runs: Runs) -> None:
    finished_run(runs, [0.5], name=FORMULA)
    finished_run(runs, [0.25, 0.3], name="plain | name", preset="baseline-mlp")
    table = results(runs.database, Datasets(runs.settings.datasets), "shapes100", 50)
    rows = list(csv.DictReader(io.StringIO(as_csv(table))))
    assert [row["name"] for row in rows] == ["'" + FORMULA, "plain | name"]
    assert (rows[0]["validation_accuracy"], rows[0]["test_accuracy"], rows[0]["sd"]) == ("0.5", "0.49", "")
    assert (rows[1]["model"], rows[1]["parameters"], rows[1]["epochs"]) == ("mlp", "123456", "2")
    text = re.sub(r"\| \d+ s \|", "| 0 s |", as_markdown(table))  # on a busy machine it takes longer
    assert (
        "| **cnn** baseline-cnn · epochs 100 → 1 | 50.0 (43.1–56.9) | 49.0 (45.9–52.1) | 2.500 | 123,456 | 0 s | 1 |"
        in text
    )
    widths = {line.count("|") for line in text.splitlines() if line.startswith("|")}
    assert widths == {8}


def test_what_is_reported_stands_beside_the_most_faithful_run(runs: Runs) -> None:
    record = read_record(runs.settings.datasets, "shapes100")
    cifar = record.model_copy(update={"classes": list(FINE_NAMES)})
    finished_run(runs, [0.9, 0.9], overrides={"epochs": 2, "optimizer.lr": 0.01})
    faithful = finished_run(runs, [0.3, 0.2], overrides={"epochs": 2})
    assert all(item.obtained is None for item in reported_here(runs.database, "shapes100", record))
    found = {(item.preset, item.metric): item for item in reported_here(runs.database, "shapes100", cifar)}
    loss, test = found["baseline-cnn", "training loss"], found["baseline-cnn", "test loss, last epoch"]
    assert (loss.run, loss.reported) == (faithful, 0.015)
    assert loss.obtained == pytest.approx(4.6 - 0.2 - 0.2)
    assert (test.reported, test.obtained, test.differs) == (6.23, 3.0, "epochs 100 → 2")
    assert found["baseline-cnn-first", "training loss"].obtained is None
    assert {item.preset for item in REPORTED} <= presets().keys()
    for item in REPORTED:
        assert presets()[item.preset].reported, item.preset


def test_a_number_at_an_epoch_is_read_off_the_curve(runs: Runs) -> None:
    record = read_record(runs.settings.datasets, "shapes100")
    cifar = record.model_copy(update={"classes": list(FINE_NAMES)})
    preset = "baseline-cnn-lr2.5e-4"
    finished_run(runs, [0.5], preset=preset)
    (short,) = [item for item in reported_here(runs.database, "shapes100", cifar) if item.preset == preset]
    assert (short.metric, short.obtained) == ("training accuracy at epoch 60", None)
    finished_run(runs, [epoch / 100 for epoch in range(1, 71)], preset=preset, overrides={})
    (whole,) = [item for item in reported_here(runs.database, "shapes100", cifar) if item.preset == preset]
    assert whole.obtained == pytest.approx(0.60)
