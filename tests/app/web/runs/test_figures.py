from __future__ import annotations

from app.web.runs.figures import figures_of


def test_each_figure_is_listed_once() -> None:
    summary = {
        "val/acc": 0.5, "val/loss": 2.0, "best/acc": 0.6, "best/loss": 1.5, "best/val_acc": 0.6, "best/step": 20,
        "test/acc": 0.55, "test/ece": 0.02, "last/test/acc": 0.55, "parameters": 1234,
    }  # fmt: skip
    figures = figures_of(summary)
    assert figures.columns == ("Validation, last", "Validation, best", "Test")
    assert [(row.label, row.cells) for row in figures.rows] == [
        ("accuracy", ("50.0%", "60.0%", "55.0%")),
        ("loss", ("2", "1.5", "")),
        ("expected calibration error", ("", "", "0.02")),
    ]
    assert [(row.label, row.cells) for row in figures.others] == [("parameters", ("1,234",))]
    other_weights = figures_of(summary | {"last/test/acc": 0.52})
    assert other_weights.columns[-1] == "Test, last weights"
    assert other_weights.rows[0].cells == ("50.0%", "60.0%", "55.0%", "52.0%")
