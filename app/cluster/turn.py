"""A turn of the outpost over all its loops."""

from __future__ import annotations

from sqlmodel import col, select

from app.storage.db import ChangeHint, Database
from app.storage.tables import Run


class Turn:
    """What all loops of the outpost need to know in a turn, asked once: whether there are changes, and to which runs.

    `rows` are the status and the claim of each run that is held, by the row's key.
    """

    def __init__(self, database: Database) -> None:
        self._database, self._hint = database, ChangeHint(database)
        self._changed = True
        self.rows: dict[int, tuple[str, int]] = {}

    def begin(self, held: list[int]) -> None:
        self._changed = self._hint.changed()
        if self._changed:
            statement = select(Run.key, Run.status, Run.claim).where(col(Run.key).in_(held))
            with self._database.read() as session:
                self.rows = {key: (status, claim) for key, status, claim in session.exec(statement).all() if key}

    def changed(self) -> bool:
        return self._changed

    def close(self) -> None:
        """The outpost's own: each loop closes its hint."""

    def end(self) -> None:
        self._hint.close()
