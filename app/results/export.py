"""Export the result table as CSV, for a spreadsheet, and as Markdown, for a README."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Sequence

from app.display.formatting import count, duration, percent, percent_and_interval
from app.results.ranking import RANKED_BY, ResultRow, ResultTable
from trainer.spec.train_spec import SelectBy
from trainer.system.spreadsheet import safe_cell

COLUMNS = (
    "rank", "model", "preset", "changed", "validation_accuracy", "validation_half_width", "seeds", "mean", "sd",
    "validation_loss", "test_accuracy", "test_half_width", "test_loss", "parameters", "seconds", "best_epoch", "epochs",
    "run", "name", "ranked_by", "score",
)  # fmt: skip
_MARKDOWN_CHARACTERS = re.compile(r"([\\|`*_\[\]<>])")


def as_csv(table: ResultTable) -> str:
    """Return one row per seed group. Text that a spreadsheet would evaluate as a formula is escaped."""
    buffer = io.StringIO()
    writer = csv.writer(buffer)
    writer.writerow(COLUMNS)
    writer.writerows([_cell(value) for value in (*_values(row), table.by, row.score)] for row in table.rows)
    return buffer.getvalue()


def as_markdown(table: ResultTable) -> str:
    """Return a table of the seed groups, and one of the published results that have a counterpart here."""
    head = ("Model", validation_title(table.by), "Test, %", "Test loss", "Parameters", "Time", "Epochs")
    ranked_by = RANKED_BY[table.by]
    lines = [f"Results on {_escaped(table.dataset)}, ranked by validation {ranked_by}", "", *_header(head)]
    for row in table.rows:
        description = " · ".join(part for part in (row.preset if row.preset != row.model else "", row.changed) if part)
        lines.append(
            _line(
                f"**{_escaped(row.model)}** {_escaped(description)}".strip(),
                validation_text(row, table.by),
                percent_and_interval(row.test_acc, row.test_count) or "–",
                "–" if row.test_loss is None else f"{row.test_loss:.3f}",
                count(row.parameters) or "–",
                duration(row.seconds) or "–",
                str(row.epochs),
            )
        )
    obtained = [item for item in table.reported if item.obtained is not None]
    if obtained:
        lines += ["", *_header(("Preset", "Metric", "Reported", "Here", "Differences"))]
        for item in obtained:
            here = figure(item.obtained, item.is_share)
            cells = (item.preset, item.metric, figure(item.reported, item.is_share), here, item.differs or "–")
            lines.append(_line(*map(_escaped, cells)))
    return "\n".join(lines) + "\n"


def validation_title(by: SelectBy) -> str:
    """The head of the column of what is ranked by."""
    if by == "acc":
        return "Validation, %"
    return f"Validation {RANKED_BY[by]}" + ("" if by == "loss" else ", %")


def validation_text(row: ResultRow, by: SelectBy) -> str:
    """Return the figure with its interval for a single run, else mean and standard deviation over the seeds."""
    if row.sd is not None:
        spread = f"{row.sd:.3f}" if by == "loss" else f"{100 * row.sd:.1f}"
        return f"{score_text(row.mean, by)} ± {spread} (n = {row.count})"
    return percent_and_interval(row.best_acc, row.val_count) if by == "acc" else score_text(row.score, by)


def score_text(score: float, by: SelectBy) -> str:
    return f"{score:.3f}" if by == "loss" else percent(score)


def figure(value: float | None, is_share: bool) -> str:
    if value is None:
        return "–"
    return f"{percent(value)}%" if is_share else f"{value:.5g}"


def _values(row: ResultRow) -> Sequence[object]:
    return (
        row.rank, row.model, row.preset or "", row.changed, row.best_acc, row.half_width, row.count, row.mean, row.sd,
        row.val_loss, row.test_acc, row.test_half_width, row.test_loss, row.parameters, row.seconds, row.best_epoch,
        row.epochs, row.selected, row.name,
    )  # fmt: skip


def _cell(value: object) -> object:
    if isinstance(value, float):
        return f"{value:.6g}"
    return safe_cell(value) if isinstance(value, str) else value


def _header(names: Sequence[str]) -> list[str]:
    return [_line(*names), _line(*["---"] * len(names))]


def _line(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"


def _escaped(text: str) -> str:
    return _MARKDOWN_CHARACTERS.sub(r"\\\1", " ".join(text.split()))
