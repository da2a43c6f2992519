"""How a job ends whose trainer died."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from app.jobs.conclude import conclude, requeue_or_fail
from app.jobs.kinds import RUN
from app.storage.db import Database
from app.storage.tables import Run, Status
from app.storage.transitions import LostClaim
from tests.databases import settings_of
from trainer.errors import explain
from trainer.rundir.journal import read_journal


def test_a_worker_that_has_lost_its_claim_writes_no_end(tmp_path: Path) -> None:
    """Else a rebuilt database would have the run as failed, which another worker has queued again."""
    settings = settings_of(tmp_path)
    database = Database(settings.url)
    database.migrate()
    folder = settings.runs / "r"
    folder.mkdir(parents=True)
    held = Run(id="r", name="r", dataset="d", preset="p", model="m", spec={}, status=Status.RUNNING)
    held.claim, held.attempt, held.deaths, held.pid = 1, 3, 2, 2**22 + 1
    with database.write() as session:
        session.add(Run.model_validate({**held.model_dump(), "claim": 2}))
    with pytest.raises(LostClaim), database.write() as session:
        requeue_or_fail(session, RUN, held, folder, 3)
    assert list(read_journal(folder)) == []
    held.claim = 2
    with database.write() as session:
        requeue_or_fail(session, RUN, held, folder, 3)
    assert [line["e"] for line in read_journal(folder)] == ["failed"]
    database.close()


@pytest.mark.parametrize(
    ("device", "deaths", "status"),
    [("a/cpu", 0, Status.QUEUED), ("a/cpu", 2, Status.FAILED), ("cpu", 0, Status.FAILED)],
)
def test_a_run_whose_node_has_a_full_disk_goes_on_elsewhere(
    tmp_path: Path, device: str, deaths: int, status: Status
) -> None:
    database = Database(settings_of(tmp_path).url)
    database.migrate()
    run = Run(id="r", name="r", dataset="d", preset="p", model="m", spec={}, status=Status.RUNNING)
    run.claim, run.attempt, run.device, run.deaths = 1, 1, device, deaths
    with database.write() as session:
        session.add(run)
    end = {"e": "end", "reason": "failed", "error": explain(OSError(errno.ENOSPC, "No space left on device"))}
    with database.write() as session:
        conclude(session, RUN, run, end, 3)
    with database.read() as session:
        row = session.get_one(Run, run.key)
    assert (row.status, row.deaths, row.error is None) == (
        status,
        min(deaths + 1, 2) * (device != "cpu"),
        status == Status.QUEUED,
    )
    database.close()
