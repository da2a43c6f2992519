"""What tasks keep on disk: uploads, results, and the incomplete folders of datasets."""

from __future__ import annotations

import logging
from pathlib import Path

from trainer.data.writer import sweep_abandoned
from trainer.rundir.folder import TaskDir

log = logging.getLogger(__name__)


def free_cancelled(folder: Path, datasets: Path) -> None:
    """Delete what was sent with a cancelled task, and the incomplete dataset of an import that was killed.

    What cannot be deleted now is deleted with the task, or by the next import.
    """
    try:
        TaskDir(folder).upload.unlink(missing_ok=True)
        TaskDir(folder).manifest.unlink(missing_ok=True)
        if datasets.is_dir():
            sweep_abandoned(datasets)
    except OSError as error:
        log.warning("what %s kept was not deleted: %s", folder, error)
