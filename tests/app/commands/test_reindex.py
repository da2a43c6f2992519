"""Directories to rows: each story that a directory can tell ends in the status that it had."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import orjson
import pytest
from sqlmodel import select

from app.commands.reindex import Indexed, reindex
from app.host.home_lock import HomeInUse
from app.jobs.tasks import TaskPublic, Tasks
from app.metrics.reader import Metrics
from app.runs.launching import Launcher
from app.runs.requests import NewRun, RunPatch
from app.runs.runs import Runs
from app.settings import Settings
from app.storage.db import Database
from app.storage.tables import Finding, Run
from tests.databases import delete_database, settings_of
from tests.trainer.data.own_validation import make_uneven
from trainer.rundir.events import EventWriter
from trainer.rundir.folder import RunDir
from trainer.rundir.journal import journal
from trainer.spec.tasks import DatasetRequest

START: dict[str, Any] = {
    "total_steps": 112, "steps_per_epoch": 56, "epochs": 2, "device": "cpu", "val_count": 400,
}  # fmt: skip


@pytest.fixture
def settings(tmp_path: Path, shapes: Path) -> Settings:
    home = tmp_path / "home"
    home.mkdir()
    (home / "datasets").symlink_to(shapes)
    return settings_of(home)


@contextmanager
def opened(settings: Settings) -> Iterator[tuple[Runs, Tasks, Database]]:
    database = Database(settings.url)
    database.migrate()
    yield Runs(database, settings), Tasks(database, settings), database
    database.close()


def new_run(settings: Settings, **body: Any) -> Path:
    with opened(settings) as (runs, _, _):
        made = Launcher(runs.database, runs.settings).create(
            NewRun(dataset="shapes100", preset="baseline-cnn", overrides={"epochs": 2}, **body)
        )
        return runs.folder(made.id)


def lose_database(settings: Settings) -> None:
    delete_database(settings)


def rebuild(settings: Settings) -> dict[str, Indexed]:
    lose_database(settings)
    return {item.folder.name: item for item in reindex(settings)}


def tell(folder: Path, story: str) -> None:
    """Write a story: an attempt's number starts it, other words are ends, or what people asked."""
    events: EventWriter | None = None
    for word in story.split():
        if word.isdigit():
            events = EventWriter(folder, int(word))
            events.emit("start", attempt=int(word), from_step=0, **START)
            events.metrics(1, {"train/loss": 4.5})
        elif word in ("stop", "resume"):
            journal(folder, word)
        elif word == "died":
            journal(folder, "failed", error={"code": "trainer_died", "message": "It died.", "detail": None})
        else:
            assert events is not None
            error = {"code": "diverged", "message": "It diverged.", "detail": None} if word == "failed" else None
            events.emit("end", reason=word, step=1, summary={"test/acc": 0.5}, error=error)
    if events is not None:
        events.close()


def test_a_queued_run_has_the_same_plan_afterwards(tmp_path: Path) -> None:
    settings = settings_of(tmp_path)
    make_uneven(settings.datasets, (20,) * 10)
    with opened(settings) as (runs, _, _):
        overrides = {"epochs": 3, "batch_size": 1}
        run = Launcher(runs.database, settings).create(NewRun(dataset="uneven", preset="quick", overrides=overrides))
    assert run.steps_per_epoch == 190
    rebuild(settings)
    with opened(settings) as (runs, _, _):
        assert runs.get(run.id).total_steps == run.total_steps == 570


@contextmanager
def lock_held(folder: Path) -> Iterator[None]:
    fd = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC)
    fcntl.flock(fd, fcntl.LOCK_EX)
    os.write(fd, str(os.getpid()).encode())
    yield
    os.close(fd)


@pytest.mark.parametrize(
    ("story", "status"),
    [
        ("", "queued"),
        ("stop", "stopped"),
        ("stop resume", "queued"),
        ("1", "queued"),
        ("1 finished", "finished"),
        ("1 failed", "failed"),
        ("1 interrupted", "queued"),
        ("1 orphaned", "queued"),
        ("1 stop", "stopped"),
        ("1 stop interrupted", "stopped"),
        ("1 stop finished", "finished"),
        ("1 finished stop", "finished"),
        ("1 stop interrupted resume", "queued"),
        ("1 stop interrupted resume 2", "queued"),
        ("1 stop interrupted resume 2 finished", "finished"),
        ("1 finished resume", "queued"),
        ("1 finished resume stop", "stopped"),
        ("1 finished resume 2 interrupted", "queued"),
        ("1 2 died", "failed"),
        ("1 interrupted 2 died", "failed"),
        ("1 died resume", "queued"),
        ("1 died resume 2 finished", "finished"),
    ],
)
def test_a_directory_tells_where_its_run_stands(settings: Settings, story: str, status: str) -> None:
    folder = new_run(settings)
    tell(folder, story)
    assert rebuild(settings)[folder.name].status == status
    with opened(settings) as (runs, _, _):
        run = runs.get(folder.name)
    assert run.status == status
    assert (run.finished_at is not None) == (status in ("finished", "stopped", "failed"))
    assert (run.error is not None) == (status == "failed")
    assert run.attempt == max((int(word) for word in story.split() if word.isdigit()), default=0)


@pytest.mark.parametrize(("attempt", "status"), [(0, "finished"), (1, "queued")])
def test_a_resume_counts_by_its_attempt_not_by_the_clock(settings: Settings, attempt: int, status: str) -> None:
    folder = new_run(settings)
    tell(folder, "1 finished")
    journal(folder, "resume", t=0.0, attempt=attempt)
    assert rebuild(settings)[folder.name].status == status


@pytest.mark.parametrize(
    ("story", "status"), [("1", "running"), ("1 stop", "stopping"), ("1 stop interrupted resume 2", "running")]
)
def test_a_trainer_at_work_is_left_to_be_adopted(settings: Settings, story: str, status: str) -> None:
    folder = new_run(settings)
    tell(folder, story)
    with lock_held(folder):
        assert rebuild(settings)[folder.name].status == status
    with opened(settings) as (_, _, database), database.read() as session:
        row = session.exec(select(Run)).one()
    assert (row.host, row.device) == (os.uname().nodename, "cpu")


def test_a_trainer_that_has_said_its_end_is_not_adopted(settings: Settings) -> None:
    folder = new_run(settings)
    tell(folder, "1 finished")
    with lock_held(folder):
        assert rebuild(settings)[folder.name].status == "finished"


def test_what_people_added_and_what_trainers_said_is_back(settings: Settings) -> None:
    folder = new_run(settings, name="mine", tags=["a"], group="g", expectation="much", priority=3)
    other = new_run(settings, name="next")
    with opened(settings) as (runs, _, _):
        runs.patch(folder.name, RunPatch(notes="a note", starred=True))
        before, after_it = runs.get(folder.name), runs.get(other.name)
    events = EventWriter(folder, 1)
    events.emit("start", attempt=1, from_step=0, **START)
    events.metrics(5, {"train/loss": 4.0, "val/acc": 0.25})
    with events.path.open("ab") as file:
        file.write(b'{"e":"finding","t":1.5,"step":5,"kind":"flat","level":"warn","message":"It is flat."}\n')
    events.emit("log", line="a line")
    (folder / "checkpoints" / "00000005.safetensors").write_bytes(b"weights")
    saved = {"step": 5, "epoch": 0, "sha256": "0" * 64, "size": 7, "metrics": {}, "best": True}
    events.emit("checkpoint", **saved)
    events.close()
    rebuild(settings)
    with opened(settings) as (runs, _, database):
        run = runs.get(folder.name)
        same = {"name", "tags", "group", "expectation", "notes", "starred", "created_at", "changed", "spec", "preset"}
        assert run.model_dump(include=same) == before.model_dump(include=same)
        assert (run.step, run.best_step, run.best_acc, run.summary) == (5, 5, 0.25, {"val/acc": 0.25, "best/acc": 0.25})
        assert runs.get(other.name).model_dump(exclude={"seq"}) == after_it.model_dump(exclude={"seq"})
        assert [item.id for item in runs.queue()] == [folder.name, other.name]
        assert Metrics(database).read(folder.name)["series"]["train/loss"]["value"] == [4.0]
        assert [line.line for line in runs.log(folder.name)] == ["a line"]
        written = orjson.loads(events.path.read_bytes().splitlines()[-1])
        (checkpoint,) = runs.checkpoints(folder.name)
        assert checkpoint.model_dump(include=set(saved)) == saved
        assert checkpoint.created_at.timestamp() == pytest.approx(written["t"], abs=1e-5)
        with database.read() as session:
            assert session.exec(select(Finding)).one().message == "It is flat."


def new_task(settings: Settings) -> TaskPublic:
    with opened(settings) as (_, tasks, _):
        return tasks.create(tasks.new_folder(), DatasetRequest(name="birds", source="torchvision:CIFAR10"))


def test_tasks_are_back(settings: Settings) -> None:
    waiting, done = new_task(settings), new_task(settings)
    events = EventWriter(settings.tasks / done.id, 1)
    events.emit("start", attempt=1, from_step=0)
    events.emit("progress", done=3, total=4, what="decoding")
    events.emit("end", reason="finished", step=None, summary={}, error=None, result={"dataset": "birds"})
    events.close()
    assert {name: item.status for name, item in rebuild(settings).items()} == {
        waiting.id: "queued",
        done.id: "finished",
    }
    with opened(settings) as (_, tasks, _):
        found = tasks.get(done.id)
        assert (found.kind, found.request, found.result) == (done.kind, done.request, {"dataset": "birds"})
        assert (found.done, found.total, found.what, found.progress) == (3, 4, "decoding", 1.0)
        assert tasks.get(waiting.id).request == waiting.request


def test_tasks_of_other_versions_are_shown_as_they_were(settings: Settings) -> None:
    other, unknown = new_task(settings), new_task(settings)
    file = settings.tasks / other.id / "task.json"
    file.write_bytes(orjson.dumps(orjson.loads(file.read_bytes()) | {"hint": 1}))
    (settings.tasks / unknown.id / "task.json").write_bytes(orjson.dumps({"kind": "cook"}))
    found = rebuild(settings)
    assert (found[other.id].status, found[unknown.id].damaged) == ("queued", True)
    with opened(settings) as (_, tasks, _):
        assert [task.request for task in tasks.list()] == [other.request | {"hint": 1}]


def test_what_cannot_be_a_run_is_left_alone_and_named(settings: Settings) -> None:
    good, uncommitted, damaged, deleted = (new_run(settings) for _ in range(4))
    (uncommitted / "committed").unlink()
    (damaged / "spec.json").write_text("{")
    deleted = deleted.rename(deleted.with_name(f".deleted-{deleted.name}"))
    found = rebuild(settings)
    assert found[good.name].status == "queued"
    assert found[uncommitted.name].reason == "it was never committed"
    assert found[deleted.name].reason == "it was being deleted"
    assert found[damaged.name].damaged
    assert all(folder.exists() for folder in (uncommitted, damaged, deleted))
    with opened(settings) as (runs, _, _):
        assert [run.id for run in runs.queue()] == [good.name]


def test_rows_that_are_there_stay_as_they_are(settings: Settings) -> None:
    folder = new_run(settings)
    assert list(reindex(settings)) == []
    other = new_run(settings)
    with opened(settings) as (runs, _, _):
        runs.stop(other.name)
        runs.delete(folder.name)
    assert list(reindex(settings)) == []


def test_a_home_that_is_served_is_refused(settings: Settings) -> None:
    fd = os.open(settings.home / "serve.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC)
    fcntl.flock(fd, fcntl.LOCK_EX)
    with pytest.raises(HomeInUse, match="end it first"):
        list(reindex(settings))
    os.close(fd)
    assert list(reindex(settings)) == []


def test_one_odd_directory_does_not_hold_up_the_others(settings: Settings) -> None:
    odd, good = new_run(settings), new_run(settings)
    with RunDir(odd).journal.open("ab") as file:
        file.write(b"17\n[]\n" + orjson.dumps({"e": "meta", "created_at": "not a time"}) + b"\n")
    broken = settings.runs / "0broken"
    broken.mkdir()
    RunDir(broken).committed.touch()
    RunDir(broken).spec.write_bytes(b"[]")
    lose_database(settings)
    found = {item.folder.name: item for item in reindex(settings)}
    assert found[broken.name].damaged
    assert [found[folder.name].status for folder in (odd, good)] == ["queued", "queued"]


def test_two_directories_with_one_idempotency_key_are_both_kept(settings: Settings) -> None:
    """The web process was killed between a run's directory and its row; the client sent the request again."""
    first, second = new_run(settings), new_run(settings)
    for folder in (first, second):
        journal(folder, "meta", idempotency_key="once", idempotency_body="same")
    lose_database(settings)
    assert [item.status for item in reindex(settings)] == ["queued", "queued"]
    with opened(settings) as (_, _, database), database.read() as session:
        assert sorted(str(row.idempotency_key) for row in session.exec(select(Run)).all()) == ["None", "once"]
