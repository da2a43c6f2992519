"""The small plots beside findings."""

from __future__ import annotations

from app.display.small_plot import small_plot


def test_lines_of_one_quantity_share_a_scale() -> None:
    plot = small_plot({"lines": {"real": [[0, 1], [4.6, 5984.0]], "zeroed": [[0, 1], [4.6, 13.0]]}})
    assert plot is not None
    assert [line.path for line in plot.lines] == ["M0.0 69.0L240.0 3.0", "M0.0 69.0L240.0 68.9"]


def test_a_ratio_beside_the_loss_has_a_scale_of_its_own() -> None:
    lines = {"training loss": [[0, 1], [4.6, 4.5]], "update to weight": [[0, 1], [0.01, 0.001]]}
    plot = small_plot({"lines": lines})
    assert plot is not None
    assert [line.path for line in plot.lines] == ["M0.0 3.0L240.0 69.0"] * 2
