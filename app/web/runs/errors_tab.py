"""The context of the Errors tab of a run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from urllib.parse import urlencode

import numpy as np

from app.datasets.datasets import Datasets
from app.diagnosis.class_curves import ClassCurves, class_curves
from app.diagnosis.class_results import Averages, ClassResult, averages
from app.diagnosis.mistakes import Examination, Mistake, Pair, examined
from app.errors import not_found
from app.runs.public import RunPublic
from app.runs.runs import Runs
from app.storage.tables import ENDED
from app.web.root import root
from trainer.data.errors import DatasetError
from trainer.rundir.answers import Table, answered_steps, read_table
from trainer.rundir.calibration import Calibration, read_calibration
from trainer.spec.train_spec import TrainSpec

MAX_PAIRS = 8
EXAMPLES_PER_PAIR = 4
MAX_CELL_EXAMPLES = 60
MISTAKES_PER_PAGE = 30
MAX_TABLE_CLASSES = 20  # up to this number of classes the matrix is also shown as a table

NO_IMAGES = "The dataset was deleted or replaced: the images and labels of this run's predictions are gone."


@dataclass(frozen=True)
class Cell:
    """A cell of the confusion matrix: `count` images of class `label` predicted as `guess`, and some of their rows."""

    label: int
    guess: int
    rows: tuple[int, ...]
    count: int


@dataclass(frozen=True)
class MatrixRow:
    index: int
    name: str
    counts: tuple[tuple[int, int], ...]
    """(predicted class, number of images)."""


@dataclass(frozen=True)
class ErrorsTab:
    """`/runs/{id}?tab=errors`. Either `reason` says why there is nothing to show, or `examined` is set."""

    run_id: str
    dataset: str
    steps: tuple[int, ...] = ()
    per_epoch: int = 1
    reason: str = ""
    examined: Examination | None = None
    classes: tuple[ClassResult, ...] = ()
    averages: Averages | None = None
    curves: ClassCurves | None = None
    calibration: Calibration | None = None
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
        """The URL of this tab with changed query parameters; None removes one."""
        query = {"tab": "errors", "step": self.step, **changed}
        return f"{root()}/runs/{self.run_id}?" + urlencode(
            {name: value for name, value in query.items() if value is not None}
        )


def why_nothing_held_out(spec: TrainSpec) -> str:
    """Why a run has no validation images."""
    if not spec.validates:
        return "No validation split: val_fraction is 0, so that no images were held out."
    few = "one training image" if spec.dataset.split_seed == "dataset" else "too few training images for val_fraction"
    return f"No validation split: every class has {few}, so that no images were held out."


def errors_tab(
    run_id: str,
    dataset: str,
    examined: Examination,
    files: Sequence[str],
    steps: Sequence[int],
    per_epoch: int,
    cell: tuple[int, int] | None,
    page: int,
    *,
    curves: ClassCurves | None = None,
    calibration: Calibration | None = None,
) -> ErrorsTab:
    small = len(examined.names) <= MAX_TABLE_CLASSES
    counts = examined.confusion()
    wrong = examined.count - examined.right
    first = (page - 1) * MISTAKES_PER_PAGE
    return ErrorsTab(
        run_id,
        dataset,
        tuple(steps),
        per_epoch,
        examined=examined,
        classes=tuple(examined.classes()),
        averages=averages(counts),
        curves=curves,
        calibration=calibration,
        pairs=tuple(examined.pairs(MAX_PAIRS, EXAMPLES_PER_PAIR)),
        worst=tuple(islice(examined.mistakes(files), first, first + MISTAKES_PER_PAGE)),
        cell=None if cell is None else _cell(examined, *cell),
        matrix=()
        if not small
        else tuple(
            MatrixRow(row, examined.names[row], tuple((column, int(counts[row, column])) for column in examined.order))
            for row in examined.order
        ),
        page=page,
        pages=max(1, -(-wrong // MISTAKES_PER_PAGE)),
    )


def _cell(examined: Examination, label: int, guess: int) -> Cell:
    rows = examined.of_cell(label, guess)
    return Cell(label, guess, tuple(rows[:MAX_CELL_EXAMPLES]), len(rows))


def tab_of(
    runs: Runs,
    datasets: Datasets,
    run: RunPublic,
    step: int | None,
    cell: tuple[int, int] | None,
    page: int,
    of: int | None = None,
) -> ErrorsTab:
    """The tab of a run, with the curves of class `of`, by default that of the lowest recall.

    Raises ApiError 404: no validation predictions at `step`, or no such class in `cell` or `of`.
    """
    if run.val_count == 0 or not run.train_spec.validates:
        return ErrorsTab(run.id, run.dataset, reason=why_nothing_held_out(run.train_spec))
    try:
        found = examined(runs, datasets, run, step)
    except DatasetError:
        return ErrorsTab(run.id, run.dataset, reason=NO_IMAGES)
    except FileNotFoundError:
        raise not_found("answers at step", str(step)) from None
    if found is None:
        ended = run.status in ENDED
        reason = (
            "The run ended before its first evaluation." if ended else "Predictions appear here after the first epoch."
        )
        return ErrorsTab(run.id, run.dataset, reason=reason)
    if (asked := max((*(cell or ()), of or 0))) >= len(found.names):
        raise not_found("class", str(asked))
    files = datasets.files(run.dataset, found.split)
    steps = answered_steps(runs.folder(run.id))
    folder, step = runs.folder(run.id), found.answers.step
    return errors_tab(
        run.id,
        run.dataset,
        found,
        files,
        steps,
        run.steps_per_epoch or 1,
        cell,
        page,
        curves=_curves(found, read_table(folder), of),
        calibration=read_calibration(folder, step),
    )


def _curves(examined: Examination, table: Table | None, of: int | None) -> ClassCurves | None:
    """The curves of a class at the selected step; None at others, whose probabilities are not kept."""
    if table is None or table.step != examined.answers.step or not np.array_equal(table.row, examined.answers.row):
        return None
    index = examined.classes()[0].index if of is None else of
    is_own = examined.labels == index
    return class_curves(table.probabilities[:, index], is_own, index, examined.names[index])
