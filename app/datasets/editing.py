"""Deleting and renaming datasets. A dataset is kept while a run that has not ended uses it."""

from __future__ import annotations

import errno
import json
import logging
import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import func, update
from sqlmodel import Session, col, select

from app.errors import ApiError
from app.settings import Settings
from app.storage.db import Database
from app.storage.tables import ENDED, Run
from trainer.data.errors import DatasetError, DatasetMissing
from trainer.data.format import RECORD_FILE, DatasetRecord, check_name, read_record
from trainer.rundir.journal import journal
from trainer.system.durable import remove_folder, set_aside, sync_folder, write_durably

NAMED_RUNS = 5  # runs that a refusal names

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Usage:
    """`runs` counts the dataset's runs, `waiting` names those that have not ended, `size` is in bytes."""

    runs: int
    waiting: tuple[str, ...]
    size: int

    @property
    def refusal(self) -> str:
        """Why the dataset cannot be deleted or renamed now; "" if it can."""
        if not self.waiting:
            return ""
        count, shown = len(self.waiting), ", ".join(f'"{name}"' for name in self.waiting[:NAMED_RUNS])
        more = f" and {count - NAMED_RUNS} more" if count > NAMED_RUNS else ""
        who = "A run that has not ended uses it" if count == 1 else f"{count} runs that have not ended use it"
        return f"{who}: {shown}{more}. Stop or delete {'it' if count == 1 else 'them'} first."


class DatasetEditor:
    """Its changes hold the database's write lock, as launching and resuming a run on a dataset do."""

    def __init__(self, database: Database, settings: Settings) -> None:
        self._database = database
        self._root = settings.datasets
        self._runs = settings.runs

    def usage(self, name: str) -> Usage:
        """Raises DatasetMissing."""
        folder = self._folder(name)
        with self._database.read() as session:
            count = session.exec(select(func.count()).select_from(Run).where(Run.dataset == name)).one()
            waiting = _waiting(session, name)
        return Usage(count, waiting, sum(file.stat().st_size for file in folder.iterdir() if file.is_file()))

    def delete(self, name: str) -> None:
        """Delete a dataset. Its runs stay. Raises DatasetMissing; ApiError 409: a run that has not ended uses it."""
        with self._database.write() as session:
            folder = self._folder(name)
            _check_unused(session, name)
            removed = set_aside(folder)
        remove_folder(removed)

    def rename(self, name: str, to: str) -> DatasetRecord:
        """Rename a dataset, for its runs too.

        The folder's name is the dataset's: renaming it is what counts. The rest follows; until the last step,
        dataset.json still has the old name, by which `finish_renames` recognizes a rename that was interrupted.

        Raises DatasetError; ApiError 409: the name is taken, or a run that has not ended uses the dataset.
        """
        check_name(to)
        with self._database.write() as session:
            record = read_record(self._root, name)
            if to == name:
                return record
            _check_unused(session, name)
            _rename_folder(self._root / name, self._root / to)
            sync_folder(self._root)
            runs = _rename_in_rows(session, record, to)
        self._finish(runs, to)
        return read_record(self._root, to)

    def finish_renames(self) -> None:
        """Finish the renames that a crash has interrupted."""
        for path in self._root.glob(f"*/{RECORD_FILE}"):
            with suppress(DatasetError, OSError, ValueError, KeyError):  # a damaged record: nothing to finish
                name, old = path.parent.name, str(json.loads(path.read_bytes())["name"])
                if old == name or os.path.lexists(self._root / old):
                    continue
                with self._database.write() as session:
                    record = read_record(self._root, name).model_copy(update={"name": old})
                    runs = _rename_in_rows(session, record, name)
                self._finish(runs, name)

    def _finish(self, runs: list[str], name: str) -> None:
        for run in runs:
            with suppress(FileNotFoundError):  # its directory was deleted by hand
                journal(self._runs / run, "meta", dataset=name)
        folder = self._root / name
        if folder.is_symlink():
            return  # the files belong to another home
        try:
            record = read_record(self._root, name)
            write_durably(folder / RECORD_FILE, (record.model_dump_json(indent=1) + "\n").encode())
        except OSError as error:
            log.warning("%s keeps its old name inside: %s", folder / RECORD_FILE, error)

    def _folder(self, name: str) -> Path:
        """The folder of a dataset, whose record may be damaged. Raises DatasetMissing."""
        with suppress(DatasetError):
            check_name(name)
            if (self._root / name / RECORD_FILE).is_file():
                return self._root / name
        raise DatasetMissing(f"There is no dataset called {name!r}.")


def _waiting(session: Session, name: str) -> tuple[str, ...]:
    """The names of the dataset's runs that have not ended."""
    statement = select(Run.name).where(Run.dataset == name, col(Run.status).not_in(ENDED)).order_by(col(Run.key))
    return tuple(session.exec(statement).all())


def _check_unused(session: Session, name: str) -> None:
    if reason := Usage(0, _waiting(session, name), 0).refusal:
        raise ApiError(409, "dataset_in_use", f"The dataset {name} is in use. {reason}")


def _rename_folder(folder: Path, target: Path) -> None:
    taken = ApiError(409, "name_taken", f"There is a dataset called {target.name!r} already.")
    if os.path.lexists(target):
        raise taken
    try:
        folder.rename(target)
    except OSError as error:  # an import has just taken the name
        if error.errno in (errno.ENOTEMPTY, errno.EEXIST, errno.EISDIR, errno.ENOTDIR):
            raise taken from None
        raise


def _rename_in_rows(session: Session, record: DatasetRecord, to: str) -> list[str]:
    """Rename the dataset of `record` in the rows of its runs, and return their ids.

    A run on an earlier dataset of that name, with other images, keeps the name.
    """
    found = session.exec(select(Run.key, Run.id, Run.spec).where(Run.dataset == record.name)).all()
    ids = []
    for key, run_id, spec in found:
        if spec["dataset"].get("sha256") in (None, {}, record.sha256):
            renamed = {**spec, "dataset": {**spec["dataset"], "name": to}}
            session.exec(update(Run).where(col(Run.key) == key).values(dataset=to, spec=renamed))
            ids.append(run_id)
    return ids
