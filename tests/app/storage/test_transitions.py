"""The table of a job's states, and the fence around every write."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product

import pytest
from sqlmodel import select

from app.storage.db import Database
from app.storage.tables import ENDED, Run, Status
from app.storage.transitions import TRANSITIONS, LostClaim, guarded_update, move
from tests.databases import new_database

ALLOWED = {
    "queued": "starting stopped failed",
    "starting": "running stopping queued stopped finished failed",
    "running": "stopping queued stopped finished failed",
    "stopping": "stopped finished failed",
    "finished": "queued",
    "stopped": "queued",
    "failed": "queued",
}


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Database]:
    database = new_database(tmp_path_factory.mktemp("states") / "t.db")
    yield database
    database.close()


@pytest.fixture
def run(database: Database) -> Run:
    row = Run(id="run", name="r", dataset="d", model="cnn", spec={}, claim=3)
    with database.write() as session:
        for old in session.exec(select(Run)).all():
            session.delete(old)
        session.flush()
        session.add(row)
    return row


def put(database: Database, **values: object) -> None:
    with database.write() as session:
        row = session.exec(select(Run)).one()
        for name, value in values.items():
            setattr(row, name, value)


def stored(database: Database) -> Run:
    with database.read() as session:
        return session.exec(select(Run)).one()


def test_every_move_is_in_the_table_or_refused(database: Database, run: Run) -> None:
    for old, new in product(Status, Status):
        put(database, status=old)
        run.status = old
        if new in ALLOWED[old].split():
            with database.write() as session:
                move(session, run, new)
            assert (run.status, stored(database).status) == (new, new)
        else:
            with pytest.raises(ValueError, match=f"a {old} job cannot become {new}"), database.write() as session:
                move(session, run, new)
            assert stored(database).status == old


def test_an_end_is_left_only_by_way_of_the_queue() -> None:
    assert all(TRANSITIONS[status] == {Status.QUEUED} for status in ENDED)


def test_a_move_from_a_state_that_is_no_more_writes_nothing(database: Database, run: Run) -> None:
    put(database, status=Status.STOPPED)
    with pytest.raises(LostClaim), database.write() as session:
        move(session, run, Status.STARTING, device="cpu")
    assert (stored(database).status, stored(database).device) == (Status.STOPPED, None)


@pytest.mark.parametrize("claim", [2, 4])
def test_another_claim_writes_nothing(database: Database, run: Run, claim: int) -> None:
    put(database, claim=claim)
    with pytest.raises(LostClaim), database.write() as session:
        guarded_update(session, run, step=100)
    with pytest.raises(LostClaim), database.write() as session:
        move(session, run, Status.STARTING)
    assert (stored(database).step, stored(database).status) == (0, Status.QUEUED)


def test_a_guarded_update_takes_the_claim_along(database: Database, run: Run) -> None:
    with database.write() as session:
        guarded_update(session, run, claim=4, step=5)
    with database.write() as session:
        guarded_update(session, run, step=6)
    assert (run.claim, stored(database).claim, stored(database).step) == (4, 4, 6)
