"""`python -m tests.app.datasets.killed_rename HOME POINT`: renames shapes100 to forms, and is killed at a point."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

from app.datasets.editing import DatasetEditor
from app.settings import Settings
from app.storage.db import Database


def main(home: Path, point: str) -> None:
    settings = Settings(home=home)

    def kill_at_point(event: str, arguments: tuple[object, ...]) -> None:
        if event != "open" or not (settings.datasets / "forms").exists():
            return
        path = str(arguments[0])
        reached = {
            "renamed": path == str(settings.datasets),  # to sync it
            "rows": path.endswith("meta.jsonl"),
            "journaled": path.endswith(".dataset.json.tmp"),
        }
        if reached[point]:
            os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(kill_at_point)
    DatasetEditor(Database(settings.url), settings).rename("shapes100", "forms")


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
