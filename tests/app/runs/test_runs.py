"""Runs as the domain has them: which moves are taken in which state, the queue's order, and what lies on the disk."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlmodel import select

from app.errors import ApiError
from app.jobs.claims import claim_next
from app.jobs.kinds import RUN
from app.runs.launching import Launcher
from app.runs.query import RunQuery
from app.runs.queue import Queue
from app.runs.requests import CloneRequest, NewRun, ResumeRequest, RunPatch
from app.runs.runs import Runs
from app.storage.tables import ACTIVE, ENDED, Change, Run, Status, now
from tests.conftest import runs_in
from trainer.rundir.folder import RunDir
from trainer.rundir.journal import read_journal
from trainer.rundir.spec import extensions, read_spec


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory, shapes: Path) -> Iterator[Runs]:
    with runs_in(tmp_path_factory.mktemp("home"), shapes) as runs:
        yield runs


@pytest.fixture
def own(tmp_path: Path, shapes: Path) -> Iterator[Runs]:
    """Runs of a home of its own: the queue is a whole."""
    with runs_in(tmp_path, shapes) as runs:
        yield runs


def create(runs: Runs, **body: Any) -> str:
    return (
        Launcher(runs.database, runs.settings)
        .create(NewRun.model_validate({"dataset": "shapes100", "preset": "baseline-cnn", **body}))
        .id
    )


def put(runs: Runs, run_id: str, **values: Any) -> None:
    with runs.database.write() as session:
        row = session.exec(select(Run).where(Run.id == run_id)).one()
        for name, value in values.items():
            setattr(row, name, value)


MOVES: dict[str, tuple[Callable[[Runs, str], object], dict[Status, Status | None]]] = {
    "stop": (
        lambda runs, run_id: runs.stop(run_id),
        {Status.QUEUED: Status.STOPPED, Status.STARTING: Status.STOPPING, Status.RUNNING: Status.STOPPING},
    ),
    "resume": (
        lambda runs, run_id: runs.resume(run_id, ResumeRequest(extend_epochs=0)),
        {Status.STOPPED: Status.QUEUED, Status.FAILED: Status.QUEUED},
    ),
    "extend": (
        lambda runs, run_id: runs.resume(run_id, ResumeRequest(extend_epochs=2)),
        dict.fromkeys(ENDED, Status.QUEUED),
    ),
    "delete": (
        lambda runs, run_id: runs.delete(run_id),
        {status: None for status in Status if status not in ACTIVE},
    ),
}


@pytest.mark.parametrize("name", MOVES)
def test_what_people_ask_is_taken_in_some_states_only(runs: Runs, name: str) -> None:
    ask, results = MOVES[name]
    for status in Status:
        run_id = create(runs)
        put(runs, run_id, status=status)
        journal = read_journal(runs.folder(run_id))
        if status in results:
            ask(runs, run_id)
            after = results[status]
            if after is None:
                assert not runs.folder(run_id).exists()
                with pytest.raises(ApiError, match="no run"):
                    runs.get(run_id)
            else:
                assert runs.get(run_id).status == after
        else:
            with pytest.raises(ApiError) as refused:
                ask(runs, run_id)
            assert refused.value.status == 409
            assert runs.get(run_id).status == status
            assert read_journal(runs.folder(run_id)) == journal


def test_a_resumed_run_starts_with_a_clean_slate(runs: Runs) -> None:
    run_id = create(runs)
    put(runs, run_id, status=Status.FAILED, deaths=3, error={"code": "x", "message": "x", "detail": None}, phase="data")
    run = runs.resume(run_id, ResumeRequest(extend_epochs=3))
    assert (run.status, run.error, run.finished_at, run.phase) == (Status.QUEUED, None, None, None)
    assert sum(asked["epochs"] for asked in extensions(runs.folder(run_id))) == 3


def test_a_resumed_run_does_not_obey_what_its_last_attempt_was_asked(runs: Runs) -> None:
    """A run may end just as it is asked to pause, or to finish early."""
    run_id = create(runs)
    put(runs, run_id, status=Status.FINISHED)
    asked = RunDir(runs.folder(run_id))
    asked.pause.touch()
    asked.finish_early.touch()
    runs.resume(run_id, ResumeRequest(extend_epochs=1))
    assert not asked.pause.exists()
    assert not asked.finish_early.exists()


def test_the_directory_holds_what_was_asked(runs: Runs) -> None:
    run_id = create(runs, name="n", tags=["t"], expectation="e", overrides={"epochs": 2, "model.widths": [8, 8]})
    folder = runs.folder(run_id)
    assert read_spec(folder).model_dump(mode="json") == runs.get(run_id).spec
    assert (folder / "committed").exists()
    first = read_journal(folder)[0]
    assert (first["e"], first["name"], first["tags"], first["expectation"]) == ("meta", "n", ["t"], "e")
    runs.patch(run_id, RunPatch(notes="later"))
    last = read_journal(folder)[-1]
    assert last["notes"] == "later"
    assert "name" not in last, "only what was sent is journaled"


def test_the_queue_goes_by_priority_then_by_age(runs: Runs) -> None:
    waiting = [create(runs, priority=priority) for priority in (0, 5, 0, 5, -1)]
    order = [run.id for run in runs.queue() if run.id in waiting]
    assert order == [waiting[index] for index in (1, 3, 0, 2, 4)]


def test_a_clock_that_was_set_back_does_not_turn_the_queue_over(own: Runs) -> None:
    first = create(own)
    put(own, first, place=own.get(first).created_at.timestamp() + 3600)
    ids = [first, create(own), create(own)]
    assert [run.id for run in own.queue()] == ids


def test_ten_thousand_wait_and_start_in_their_order(own: Runs) -> None:
    ids = [create(own)]
    with own.database.write() as session:
        values = session.exec(select(Run)).one().model_dump(exclude={"key", "id"})
        ids += [f"r{number}" for number in range(10_000)]
        session.add_all(Run(id=run_id, **values) for run_id in ids[1:])
    for run_id in ids[-2:]:
        own.folder(run_id).mkdir()
    queue = Queue(own.database, own.settings)
    queue.move(ids[-1], "up")
    queue.move(ids[-1], "next")
    ids.insert(0, ids.pop())
    started = []
    for _ in range(3):
        with own.database.write() as session:
            job = claim_next(session, RUN, "cpu/1/1", "cpu", 15)
            assert job is not None
            started.append(job.id)
    assert started == ids[:3]
    assert [run.id for run in own.queue()] == ids[3:203]
    assert own.queue_places() == {run_id: place for place, run_id in enumerate(ids[3:])}


def test_an_answer_is_of_its_place_in_the_feed_or_newer(runs: Runs) -> None:
    run_id = create(runs)
    runs.patch(run_id, RunPatch(name="newer"))
    with runs.database.read() as session:
        told = session.exec(select(Change).where(Change.run == run_id)).all()
    assert runs.get(run_id).seq == told[-1].seq
    assert [change.kind for change in told] == ["created", "status"]


@pytest.mark.parametrize("sort", ["name", "-name", "status", "best_acc", "-best_acc", "finished_at", "-created_at"])
def test_pages_hold_each_run_once_whatever_they_are_sorted_by(runs: Runs, sort: str) -> None:
    group = f"by {sort}"
    made = [create(runs, group=group, name="same" if index % 2 else f"n{index}") for index in range(9)]
    for index, run_id in enumerate(made[::2]):
        put(runs, run_id, best_acc=0.1 * (index // 2))
    seen: list[str] = []
    cursor: str | None = None
    while True:
        page = runs.list(RunQuery.model_validate({"group": group, "sort": sort, "limit": 2, "cursor": cursor}))
        seen += [run.id for run in page.items]
        cursor = page.next_cursor
        if cursor is None:
            break
    assert sorted(seen) == sorted(made)
    whole = runs.list(RunQuery.model_validate({"group": group, "sort": sort}))
    assert seen == [run.id for run in whole.items]


@pytest.mark.parametrize("tag", ["plain", "größe", 'quo"ted', "back\\slash", "100%", "a_b", "日本", "<b>"])
def test_runs_are_found_by_tag_and_by_words(runs: Runs, tag: str) -> None:
    run_id = create(runs, tags=[tag, "x"], group=f"tag {tag}")
    create(runs, tags=[f"{tag} more"])
    for query in ({"tag": tag}, {"q": tag, "group": f"tag {tag}"}):
        assert [run.id for run in runs.list(RunQuery.model_validate(query)).items] == [run_id]


def test_filters_that_are_empty_ask_for_nothing(runs: Runs) -> None:
    names = ("status", "dataset", "model", "tag", "group", "q", "sort", "limit", "cursor")
    empty = RunQuery.model_validate(dict.fromkeys(names, ""))
    assert empty == RunQuery()
    for name, value in {"dataset": "shapes100", "model": "cnn", "status": "queued"}.items():
        run_id = create(runs)
        assert runs.list(RunQuery.model_validate({name: value, "limit": 1})).items[0].id == run_id
    assert runs.list(RunQuery(dataset="other")).items == []


def test_the_remaining_time_is_rough_until_an_epoch_is_done(runs: Runs) -> None:
    run_id = create(runs)
    begun = {"status": Status.RUNNING, "attempt": 1, "total_steps": 1000, "steps_per_epoch": 250, "throughput": 64.0}
    put(runs, run_id, **begun, step=200, started_at=now() - timedelta(seconds=400))
    early = runs.get(run_id)
    assert (early.eta_seconds, early.eta_is_rough) == (800, True)  # at the speed of the latest steps
    put(runs, run_id, step=250, started_at=now() - timedelta(seconds=500))
    later = runs.get(run_id)
    assert later.eta_seconds == pytest.approx(1500, abs=30)  # at the pace since the start, validations included
    assert not later.eta_is_rough
    put(runs, run_id, attempt=2)
    assert runs.get(run_id).eta_is_rough


def test_a_clone_is_named_after_its_parent_and_told_by_what_differs_from_the_preset(runs: Runs) -> None:
    parent = create(runs, name="parent", tags=["t"], group="g", overrides={"seed": 7})
    clone = Launcher(runs.database, runs.settings).clone(
        parent, CloneRequest(overrides={"epochs": 3, "optimizer.lr": 1e-3}, from_step=None)
    )
    assert (clone.parent, clone.group, clone.tags) == (parent, "g", ["t"])
    assert clone.changed == [{"field": "epochs", "from": 100, "to": 3}, {"field": "seed", "from": 0, "to": 7}]
    assert clone.name == "parent epochs3"
    assert Launcher(runs.database, runs.settings).clone(parent, CloneRequest(from_step=None)).name == "parent"
