"""The database on a real PostgreSQL: one writer at a time, a feed without gaps, notifications, and lost connections."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from sqlalchemy import text
from sqlalchemy.exc import OperationalError
from sqlmodel import Session, select

from app.jobs.claims import claim_next
from app.jobs.kinds import RUN
from app.runs.launching import Launcher
from app.runs.requests import NewRun
from app.runs.runs import Runs
from app.settings import Settings
from app.storage import postgres as postgresql
from app.storage.changes import current_seq, publish
from app.storage.db import ChangeHint, Database, UnusableDatabase, is_passing
from app.storage.product import product, stored_bytes
from app.storage.tables import Change, LogLine, Run
from tests.conftest import wait_for
from tests.finished_runs import finished_run
from tests.postgres import Postgres, needs_postgres, postgres

pytestmark = needs_postgres


@pytest.fixture(scope="module")
def server() -> Iterator[Postgres]:
    with postgres() as found:
        yield found


@pytest.fixture
def database(server: Postgres) -> Iterator[Database]:
    found = Database(server.new_database())
    found.migrate()
    yield found
    found.close()


@pytest.fixture
def settings(tmp_path: Path, shapes: Path, database: Database) -> Settings:
    (tmp_path / "datasets").symlink_to(shapes)
    return Settings(home=tmp_path, database_url=database.url.render_as_string(hide_password=False))


def change(session: Session, number: int) -> None:
    publish(session, "r", "status", {"number": number})


def test_the_schema_is_made_once_by_two_that_start_at_a_time(server: Postgres) -> None:
    url = server.new_database()
    code = f"from app.storage.db import Database; Database({url!r}).migrate()"
    processes = [subprocess.Popen([sys.executable, "-c", code]) for _ in range(2)]
    assert [process.wait(60) for process in processes] == [0, 0]
    database = Database(url)
    database.check()
    database.close()


def test_each_run_is_claimed_once(settings: Settings, database: Database) -> None:
    launcher = Launcher(database, settings)
    ids = {launcher.create(NewRun(dataset="shapes100", preset="baseline-cnn")).id for _ in range(20)}
    taken: list[str] = []

    def claim(worker: str) -> None:
        while True:
            with database.write() as session:
                job = claim_next(session, RUN, worker, "cpu", 60)
            if job is None:
                return
            taken.append(job.id)

    with ThreadPoolExecutor(4) as threads:
        list(threads.map(claim, "abcd"))
    assert sorted(taken) == sorted(ids)


def test_a_feed_that_reads_on_misses_nothing(database: Database) -> None:
    """The number of a change is drawn before its commit: one that is committed later may not have a smaller one."""
    done = threading.Event()
    seen: list[int] = []

    def follow() -> None:
        cursor = 0
        while True:
            last = done.is_set()
            with database.read() as session:
                rows = session.exec(select(Change).where(Change.seq > cursor).order_by(Change.seq)).all()  # type: ignore[operator, arg-type]
            seen.extend(row.seq or 0 for row in rows)
            cursor = seen[-1] if seen else 0
            if last:
                return

    def write(worker: int) -> None:
        for number in range(50):
            with database.write(durable=False) as session:
                change(session, 100 * worker + number)

    with ThreadPoolExecutor(5) as threads:
        follower = threads.submit(follow)
        list(threads.map(write, range(4)))
        done.set()
        follower.result()
    assert len(seen) == 200
    assert len(set(seen)) == 200


def test_what_is_read_is_of_one_moment(database: Database) -> None:
    with database.read() as session:
        before = current_seq(session)
        with database.write() as other:
            change(other, 1)
        assert current_seq(session) == before
    with database.read() as session:
        assert current_seq(session) > before


def test_a_hint_hears_of_changes_and_of_nothing_else(database: Database) -> None:
    hint = ChangeHint(database)
    assert hint.changed()  # it connects
    assert not hint.changed()
    with database.write() as session:
        session.exec(select(Run)).all()
    with database.read() as session:
        session.exec(select(Run)).all()
    assert not hint.changed()
    with database.write() as session:
        change(session, 1)
    wait_for(hint.changed, 5, "the notification")
    assert not hint.changed()
    hint.close()


def test_a_stopped_server_is_come_back_to() -> None:
    with postgres() as server:
        database = Database(server.new_database())
        database.migrate()
        hint = ChangeHint(database)
        hint.changed()
        with database.write() as session:
            change(session, 1)
        server.stop()
        with pytest.raises(OperationalError) as caught, database.write() as session:
            change(session, 2)
        assert is_passing(caught.value)
        assert hint.changed()  # it is lost
        server.start()

        def written() -> bool:
            try:
                with database.write() as session:
                    change(session, 3)
            except OperationalError as error:
                return not is_passing(error)
            return True

        wait_for(written, 20, "a write")
        wait_for(lambda: not hint.changed(), 10, "the hint's new connection")
        with database.write() as session:
            change(session, 4)
        wait_for(hint.changed, 5, "the notification")
        with database.read() as session:
            assert len(session.exec(select(Change)).all()) == 3
        hint.close()
        database.close()


def test_other_errors_do_not_pass(database: Database) -> None:
    with pytest.raises(Exception, match="nonsense") as caught, database.read() as session:
        session.connection().execute(text("SELECT nonsense"))
    assert not isinstance(caught.value, OperationalError) or not is_passing(caught.value)


def test_large_steps_and_nul(settings: Settings, database: Database) -> None:
    run = finished_run(Runs(database, settings), [0.2, 0.4])
    with database.write() as session:
        row = session.exec(select(Run).where(Run.id == run)).one()
        row.total_steps = 2**40
        session.add(LogLine(run=row.key or 0, attempt=1, time=0.0, line="a\x00b"))
    with database.read() as session:
        assert session.exec(select(LogLine.line)).all()[-1] == "a\ufffdb"
        assert session.exec(select(Run).where(Run.id == "\x00")).first() is None
        assert session.exec(select(Run.total_steps)).one() == 2**40


def test_the_password_is_in_no_message() -> None:
    database = Database("postgresql+psycopg://me:secret@/nothing?host=/nowhere")
    with pytest.raises(Exception, match="cannot be opened") as caught:
        database.migrate()
    assert "secret" not in str(caught.value)
    database.close()


def test_a_database_that_is_empty_is_none_yet(server: Postgres) -> None:
    database = Database(server.new_database())
    assert not database.exists()
    with pytest.raises(UnusableDatabase, match="is empty"):
        database.check()
    database.migrate()
    assert database.exists()
    database.close()


def test_the_product_and_the_size_are_those_of_the_server(database: Database) -> None:
    with database.read() as session:
        name, version = product(session)
        assert stored_bytes(session) > 1_000_000
    assert name == "postgresql"
    assert int(version.split(".")[0]) >= 14


def test_a_suspended_writer_holds_up_the_others_for_a_while_only(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgresql, "PATIENCE", "100ms")
    with database.write() as session:
        change(session, 1)
        with pytest.raises(OperationalError, match="lock timeout") as caught, database.write() as other:
            change(other, 2)
        assert is_passing(caught.value)
    with database.write() as session:
        change(session, 3)
