"""What the Errors tab of a run shows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from urllib.parse import urlencode

from app.diagnosis.mistakes import ClassResult, Examination, Mistake, Pair

PAIRS = 8
EXAMPLES = 4
IN_CELL = 60
WORST = 30
SMALL = 20  # classes up to which the whole matrix is a table as well


@dataclass(frozen=True)
class Cell:
    label: int
    guess: int
    rows: tuple[int, ...]
    count: int


@dataclass(frozen=True)
class MatrixRow:
    index: int
    name: str
    counts: tuple[tuple[int, int], ...]
    """(class answered, how often)."""


@dataclass(frozen=True)
class ErrorsTab:
    """`/runs/{id}?tab=errors`. `reason` says why there is nothing to show, else `examined` is there."""

    run_id: str
    dataset: str
    steps: tuple[int, ...] = ()
    per_epoch: int = 1
    reason: str = ""
    examined: Examination | None = None
    classes: tuple[ClassResult, ...] = ()
    pairs: tuple[Pair, ...] = ()
    worst: tuple[Mistake, ...] = ()
    cell: Cell | None = None
    matrix: tuple[MatrixRow, ...] = ()
    page: int = 1
    pages: int = 1

    @property
    def step(self) -> int:
        return 0 if self.examined is None else self.examined.answers.step

    @property
    def epochs(self) -> tuple[tuple[int, int], ...]:
        """(step, epoch) of each evaluation."""
        return tuple((step, -(-step // self.per_epoch)) for step in self.steps)

    def link(self, **changed: object) -> str:
        query = {"tab": "errors", "step": self.step, **changed}
        return f"/runs/{self.run_id}?" + urlencode({name: value for name, value in query.items() if value is not None})


def errors_tab(
    run_id: str,
    dataset: str,
    examined: Examination,
    files: Sequence[str],
    steps: Sequence[int],
    per_epoch: int,
    cell: tuple[int, int] | None,
    page: int,
) -> ErrorsTab:
    small = len(examined.names) <= SMALL
    counts = examined.confusion() if small else None
    wrong = examined.count - examined.right
    first = (page - 1) * WORST
    return ErrorsTab(
        run_id,
        dataset,
        tuple(steps),
        per_epoch,
        examined=examined,
        classes=tuple(examined.classes()),
        pairs=tuple(examined.pairs(PAIRS, EXAMPLES)),
        worst=tuple(islice(examined.mistakes(files), first, first + WORST)),
        cell=None if cell is None else _cell(examined, *cell),
        matrix=()
        if counts is None
        else tuple(
            MatrixRow(row, examined.names[row], tuple((column, int(counts[row, column])) for column in examined.order))
            for row in examined.order
        ),
        page=page,
        pages=max(1, -(-wrong // WORST)),
    )


def _cell(examined: Examination, label: int, guess: int) -> Cell:
    rows = examined.of_cell(label, guess)
    return Cell(label, guess, tuple(rows[:IN_CELL]), len(rows))
