"""The mistakes of a run: its answers, its data set's labels, and the tab that shows them."""

from __future__ import annotations

from app.datasets.datasets import Datasets
from app.diagnosis.mistakes import examined
from app.errors import not_found
from app.errors_tab import ErrorsTab, errors_tab
from app.runs.public import RunPublic
from app.runs.runs import Runs
from app.storage.tables import ENDED
from trainer.data.errors import DatasetError
from trainer.rundir.answers import answered_steps


def tab_of(
    runs: Runs, datasets: Datasets, run: RunPublic, step: int | None, cell: tuple[int, int] | None, page: int
) -> ErrorsTab:
    """Raises ApiError 404 where nothing was answered at `step`, or `cell` is of no class."""
    if run.spec.get("val_fraction") == 0:
        return ErrorsTab(run.id, run.dataset, reason="This run holds no images out to look at: val_fraction is 0.")
    try:
        found = examined(runs, datasets, run, step)
    except DatasetError:
        return ErrorsTab(run.id, run.dataset, reason="The data set is no longer there, and its labels with it.")
    except FileNotFoundError:
        raise not_found("answers at step", str(step)) from None
    if found is None:
        ended = run.status in ENDED
        reason = (
            "The run ended before its first evaluation." if ended else "There will be answers after the first epoch."
        )
        return ErrorsTab(run.id, run.dataset, reason=reason)
    if cell is not None and max(cell) >= len(found.names):
        raise not_found("class", str(max(cell)))
    files = datasets.files(run.dataset, "train")
    steps = answered_steps(runs.folder(run.id))
    return errors_tab(run.id, run.dataset, found, files, steps, run.steps_per_epoch or 1, cell, page)
