"""Script runs as a worker follows them: exactly once, whatever is sent, and whoever else is about."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
from sqlmodel import select

from app.commands.reindex import reindex
from app.host.identity import worker_id
from app.jobs import script_files
from app.metrics.reader import Metrics
from app.runs.query import RunQuery
from app.runs.script_data import ScriptData
from app.storage.db import Database
from app.storage.tables import Finding, LogLine, ScriptRecord
from tests.app.worker.followed_home import Home, T, end, metrics, start

SHA = "ab" * 32


@pytest.fixture
def home(tmp_path: Path, database: Database) -> Home:
    (tmp_path / "home" / "runs").mkdir(parents=True)
    return Home(tmp_path / "home", database)


def record(home: Home, run_id: str = "run") -> ScriptRecord:
    with home.database.read() as session:
        return session.exec(select(ScriptRecord).where(ScriptRecord.run == home.row(run_id).key)).one()


def test_a_run_from_its_start_to_its_end(home: Home) -> None:
    home.register(name="n", project="p", config={"lr": 0.1, "model": {"width": 3}}, script={"host": "h"})
    followed = home.worker()
    home.send(start(), metrics(0, train__loss=2.0), {"e": "config", "v": {"model": {"depth": 4}}})
    home.send({"e": "environment", "v": {"python": "3.12"}}, {"e": "log", "line": "hello"})
    home.follow(followed)
    assert (home.row().status, home.row().step) == ("running", 0)
    home.send(metrics(5, train__loss=1.0, val__loss=1.5), end(summary={"best": 0.5, "note": "good"}))
    home.follow(followed)
    row = home.row()
    assert (row.status, row.step, row.worker, row.error) == ("finished", 5, None, None)
    assert row.started_at is not None
    assert row.started_at == row.finished_at  # as the events say
    assert row.summary == {"train/loss": 1.0, "val/loss": 1.5, "best": 0.5, "note": "good"}
    assert home.values("train/loss") == [(0, 2.0), (5, 1.0)]
    found = record(home)
    assert found.config == {"lr": 0.1, "model": {"width": 3, "depth": 4}}
    assert found.environment == {"host": "h", "python": "3.12"}
    assert (found.train_loss, found.val_loss, found.passed_over) == ("train/loss", "val/loss", 0)
    assert [line.line for line in home.runs.log("run")] == ["hello"]
    assert followed.held == {}


def test_nothing_is_lost_while_no_worker_is_there(home: Home) -> None:
    home.register()
    home.send(start(), *(metrics(step, loss=1 / (1 + step)) for step in range(100)), end())
    assert home.row().status == "running"
    home.follow(home.worker())
    assert home.row().status == "finished"
    assert home.values("loss") == [(step, 1 / (1 + step)) for step in range(100)]


def test_bad_lines_and_values_are_passed_over_and_counted(home: Home) -> None:
    home.register()
    home.send(
        start(),
        b"{not json",
        b"[1, 2]",
        b'{"e": 5, "t": 1}',
        b'{"e": "metrics", "t": 1, "step": -1, "v": {"x": 1}}',
        b'{"e": "metrics", "t": 1, "step": true, "v": {"x": 1}}',
        b'{"e": "metrics", "t": 1, "step": 1, "v": 3}',
        b"\xff\xfe",
        {"e": "image", "step": 1, "key": "k", "index": 0, "sha256": "../../x", "size": 1, "format": "png"},
        metrics(1, a=1, b="NaN", c="text", d=None, e=True, f=[1], g=1e30),
        metrics(3, a=3),
        metrics(2, a=2),
        metrics(3, a=4),
        {"e": "log", "line": "x" * 1_000_000},
        {"e": "of a newer client", "anything": 1},
    )
    home.follow(home.worker())
    assert record(home).passed_over == 8 + 4 + 2
    assert home.values("a") == [(1, 1.0), (3, 3.0)]
    assert home.values("b") == [(1, None)]
    assert home.values("g") == [(1, 1e30)]
    (line,) = home.runs.log("run")
    assert line.line.startswith("xxx")
    assert len(line.line) < 21_000


@pytest.mark.parametrize("name", ["a/b/c", "with 'quotes\"", "🚂/loss", "<script>", "comma, and space", "x" * 500])
def test_names_of_series(home: Home, name: str) -> None:
    home.register()
    home.send(start(), {"e": "metrics", "step": 1, "v": {name: 2.5, "": 1, "y" * 501: 1}})
    home.follow(home.worker())
    assert home.values(name) == [(1, 2.5)]
    assert record(home).passed_over == 2


def test_a_clock_that_is_off_by_years(home: Home) -> None:
    home.register()
    home.send(start() | {"t": 1.0}, metrics(0, t=4e9, loss=1.0), metrics(1, t=2.0, loss=1.0), end() | {"t": 61.0})
    home.follow(home.worker())
    row = home.row()
    assert row.started_at is not None
    assert row.finished_at is not None
    assert (row.finished_at - row.started_at).total_seconds() == 60
    assert abs(row.created_at.timestamp() - T) < 1e9
    assert len(home.values("loss")) == 2


def test_a_resumed_run_goes_on_and_keeps_what_it_had(home: Home) -> None:
    home.register()
    followed = home.worker()
    home.send(start(), *(metrics(step, loss=step + 0.5) for step in range(5)), end("failed", exit_code=1))
    home.follow(followed)
    row = home.row()
    assert (row.status, row.error) == (
        "failed",
        {"code": "script_failed", "message": "The script ended with exit code 1.", "detail": None},
    )
    assert home.register(session="b" * 8).attempt == 2
    assert (home.row().status, home.row().error, home.row().finished_at) == ("running", None, None)
    home.send(start(5, "b" * 8), metrics(5, loss=0.25), session="b" * 8)
    home.follow(followed)
    assert home.values("loss") == [(0, 0.5), (1, 1.5), (2, 2.5), (3, 3.5), (4, 4.5), (5, 0.25)]
    assert home.changes("rewind") == []


def test_a_session_that_begins_earlier_replaces_what_came_after(home: Home) -> None:
    home.register()
    followed = home.worker()
    text = [{"e": "text", "step": step, "key": "k", "text": str(step)} for step in (1, 3)]
    home.send(start(), *(metrics(step, loss=1.0) for step in range(5)), *text)
    home.follow(followed)
    home.register(session="b" * 8)
    home.send(start(2, "b" * 8), metrics(2, loss=2.0), metrics(3, loss=3.0), session="b" * 8)
    home.follow(followed)
    assert home.values("loss") == [(0, 1.0), (1, 1.0), (2, 2.0), (3, 3.0)]
    assert home.changes("rewind") == [{"run": "run", "step": 1}]
    (names,) = ScriptData(home.database, home.settings).media_names("run")
    assert names.steps == [1]
    assert home.row().status == "running"


def test_the_end_of_an_older_session_does_not_end_the_run(home: Home) -> None:
    home.register()
    home.send(start(), metrics(0, loss=1.0), end())
    home.register(session="b" * 8)
    home.follow(home.worker())
    assert home.row().status == "running"


def test_what_comes_after_the_end_is_read_too(home: Home) -> None:
    home.register()
    followed = home.worker()
    home.send(start(), metrics(0, loss=1.0), end())
    home.follow(followed)
    assert followed.held == {}
    home.send(metrics(1, loss=2.0), end("failed"))
    home.follow(followed)
    assert home.values("loss") == [(0, 1.0), (1, 2.0)]
    assert (home.row().status, home.row().phase) == ("finished", None)
    assert followed.held == {}


def test_a_silent_run_is_shown_as_silent_until_it_is_heard(home: Home) -> None:
    home.register()
    followed = home.worker()
    home.send(start(), metrics(0, loss=1.0))
    home.follow(followed)
    home.silence(61)
    home.follow(followed)
    assert (home.row().status, home.row().phase) == ("running", "silent")
    assert home.changes("status")[-1]["phase"] == "silent"
    home.send()
    home.follow(followed)
    assert (home.row().status, home.row().phase) == ("running", None)


def test_stop_ends_a_silent_run_at_once_and_reaches_it_when_it_is_back(home: Home) -> None:
    home.register()
    followed = home.worker()
    home.send(start(), metrics(0, loss=1.0))
    home.follow(followed)
    home.silence(61)
    assert home.runs.stop("run").status == "stopped"
    home.follow(followed)
    assert home.row().status == "stopped"
    assert home.scripts.append("run", "a" * 8, 0, b"").stop
    assert home.row().status == "stopping"
    home.send(metrics(1, loss=2.0), end("stopped"))
    home.follow(followed)
    assert (home.row().status, home.row().phase) == ("stopped", None)
    assert home.values("loss") == [(0, 1.0), (1, 2.0)]


def test_a_run_that_is_stopping_ends_once_it_is_silent(home: Home) -> None:
    home.register()
    followed = home.worker()
    home.send(start())
    home.follow(followed)
    assert home.runs.stop("run").status == "stopping"
    home.silence(61)
    home.follow(followed)
    assert home.row().status == "stopped"


def test_a_worker_that_was_killed_is_followed_by_another_and_writes_no_more(home: Home) -> None:
    home.register()
    first, second = home.worker("cpu/1/0"), home.worker(worker_id("cpu"))
    home.send(start(), metrics(0, loss=1.0))
    home.follow(first)
    claim = home.row().claim
    home.send(metrics(1, loss=2.0))
    home.follow(second)  # the process 1 did not start when that worker did: it is gone
    assert home.row().claim == claim + 1
    home.send(metrics(2, loss=3.0))
    home.follow(first)
    home.follow(second)
    assert home.values("loss") == [(0, 1.0), (1, 2.0), (2, 3.0)]
    assert home.row().worker == worker_id("cpu")


def test_a_worker_that_ends_leaves_its_runs_to_others(home: Home) -> None:
    home.register()
    first = home.worker(worker_id("cpu"))
    home.follow(first)
    assert home.row().worker == worker_id("cpu")
    first.close()
    assert home.row().worker is None


def test_a_run_that_cannot_be_read_disturbs_no_other(home: Home, caplog: pytest.LogCaptureFixture) -> None:
    for run_id in ("bad", "gone", "good"):
        home.register(run_id)
        home.send(start(), run_id=run_id)
    followed = home.worker()
    home.follow(followed)
    sessions = home.settings.runs / "bad" / "sessions.jsonl"
    home.register("bad", "b" * 8)
    home.send(start(1, "b" * 8), metrics(1, loss=1.0), run_id="bad", session="b" * 8)
    kept = sessions.read_bytes()
    sessions.unlink()
    shutil.rmtree(home.settings.runs / "gone")
    home.send(metrics(0, loss=1.0), run_id="good")
    home.follow(followed)
    assert home.values("loss", "good") == [(0, 1.0)]
    gone = home.row("gone")
    assert (gone.status, gone.error and gone.error["code"]) == ("failed", "directory_missing")
    assert home.values("loss", "bad") == []
    assert "could not be read" in caplog.text
    sessions.write_bytes(kept)
    home.follow(followed, 100)
    assert home.values("loss", "bad") == [(1, 1.0)]
    assert home.row("bad").status == "running"


def test_a_deleted_run_is_let_go(home: Home) -> None:
    home.register()
    followed = home.worker()
    home.send(start(), metrics(0, loss=1.0), end())
    home.follow(followed)
    home.runs.delete("run")
    home.follow(followed)
    assert followed.held == {}
    assert home.register().offset == 0  # a new run of the same id


def test_a_database_that_was_deleted_is_rebuilt(home: Home, tmp_path: Path) -> None:
    home.register("ended", name="n", project="p", tags=["t"], config={"lr": 0.1})
    home.send(start(), *(metrics(step, train__loss=1.0, val__loss=2.0) for step in range(9)), run_id="ended")
    home.send(
        {"e": "image", "step": 1, "key": "k", "index": 0, "sha256": SHA, "size": 1, "format": "png"}, run_id="ended"
    )
    home.send({"e": "file", "path": "out/model.pt", "sha256": SHA, "size": 5}, end(), run_id="ended")
    home.register("resumed")
    home.send(start(), metrics(0, loss=1.0), end("failed"), run_id="resumed")
    home.register("resumed", "b" * 8, config={"lr": 0.2})
    home.send(start(1, "b" * 8), metrics(1, loss=2.0), run_id="resumed", session="b" * 8)
    home.register("stopping")
    home.send(start(), run_id="stopping")
    home.runs.stop("stopping")
    home.follow(home.worker())
    ids = ("ended", "resumed", "stopping")
    before = {run_id: comparable(home, run_id) for run_id in ids}
    found = list(reindex(home.settings))
    assert [(one.folder.name, one.status, one.damaged) for one in found] == [
        ("ended", "finished", False), ("resumed", "running", False), ("stopping", "stopping", False),
    ]  # fmt: skip
    rebuilt = Database(home.settings.url)
    home.database = rebuilt
    assert {run_id: comparable(home, run_id) for run_id in ids} == before
    rebuilt.close()


def comparable(home: Home, run_id: str) -> dict[str, Any]:
    unlike = {"key", "claim", "worker", "host", "lease_until", "place", "tail_attempt"}
    data = ScriptData(home.database, home.settings)
    return {
        "row": home.row(run_id).model_dump(exclude=unlike),
        "record": record(home, run_id).model_dump(exclude={"run"}),
        "series": Metrics(home.database).read(run_id)["series"],
        "media": data.media(run_id, "k", None),
        "files": data.of(run_id).files,
    }


def test_settings_and_metrics_of_scripts_are_searched(home: Home) -> None:
    home.register("a", project="p", config={"lr": 0.1, "opt": {"name": "adam"}})
    home.register("b", config={"lr": 0.2})
    for run_id, loss in (("a", 1.0), ("b", 3.0)):
        home.send(start(), metrics(0, val__loss=loss), end(), run_id=run_id)
    home.follow(home.worker())

    def found(text: str) -> list[str]:
        return [run.id for run in home.runs.list(RunQuery(q=text, sort="name")).items]

    assert found("config/lr<0.15") == ["a"]
    assert found("config/opt.name:adam") == ["a"]
    assert found("val/loss>2") == ["b"]
    assert found("project:p") == ["a"]
    assert found("project:none") == ["b"]
    assert found("source:script") == ["a", "b"]
    assert found("epochs:1") == found("optimizer.lr>0") == []  # a script has no settings of the own trainer
    assert [run.id for run in home.runs.list(RunQuery(sort="val/loss")).items] == ["a", "b"]
    assert [run.id for run in home.runs.list(RunQuery(sort="optimizer.lr")).items] == ["a", "b"]
    assert [run.id for run in home.runs.list(RunQuery(project="p")).items] == ["a"]


def test_findings_are_told_once_and_end(home: Home) -> None:
    home.register()
    followed = home.worker()
    home.send(start(), *(metrics(step, loss=1.0) for step in range(30)))
    home.follow(followed)
    assert findings(home) == []
    home.send(*(metrics(step, loss="NaN") for step in range(30, 60)))
    home.follow(followed)
    home.send(*(metrics(step, loss="NaN") for step in range(60, 90)))
    home.follow(followed)
    ((kind, step, ended),) = findings(home)
    assert (kind, ended) == ("nonfinite", None)
    home.send(*(metrics(step, loss=0.5) for step in range(90, 130)))
    home.follow(followed)
    assert findings(home) == [("nonfinite", step, 129)]


def findings(home: Home) -> list[tuple[str, int, int | None]]:
    with home.database.read() as session:
        rows = session.exec(select(Finding).order_by(Finding.key)).all()  # type: ignore[arg-type]
    return [(row.kind, row.step, row.evidence.get("ended")) for row in rows]


def test_many_log_lines_are_read_in_order(home: Home) -> None:
    home.register()
    home.send(start(), *({"e": "log", "line": str(number)} for number in range(3000)))
    home.follow(home.worker())
    with home.database.read() as session:
        lines = session.exec(select(LogLine.line).order_by(LogLine.key)).all()  # type: ignore[arg-type]
    assert list(lines) == [str(number) for number in range(3000)]


def test_a_start_in_the_middle_of_a_block(home: Home) -> None:
    """An odd file: what is new in the block is known at once."""
    home.register()
    home.send(metrics(0, loss=1.0), metrics(3, loss=1.0), start(2), metrics(2, loss=2.0), metrics(1, loss=9.0))
    home.follow(home.worker())
    assert home.values("loss") == [(0, 1.0), (2, 2.0)]
    assert record(home).passed_over == 1


def test_a_run_keeps_only_so_many_images_and_files(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(script_files, "MOST_MEDIA", 3)
    monkeypatch.setattr(script_files, "MOST_FILES", 2)
    home.register()
    followed = home.worker()
    texts = [{"e": "text", "step": step, "key": "k", "text": "t"} for step in range(5)]
    files = [{"e": "file", "path": path, "sha256": SHA, "size": 1} for path in ("a", "b", "c", "a")]
    home.send(start(), *texts[:2])
    home.follow(followed)
    home.send(*texts[2:], *files)
    home.follow(followed)
    data = ScriptData(home.database, home.settings)
    assert [name.steps for name in data.media_names("run")] == [[0, 1, 2]]
    assert [file.path for file in data.of("run").files] == ["a", "b"]
    assert record(home).passed_over == 2 + 1
