"""The query language of the list of runs: what it finds, what it refuses, and that no text breaks it."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlmodel import select

from app.runs.query import RunQuery
from app.runs.runs import Runs
from app.runs.search import SearchError, parse
from app.runs.values import add_values, put_metrics
from app.storage.db import Database
from app.storage.tables import Run, Status
from tests.databases import new_database, settings_of
from trainer.spec.preset import build_spec

RUNS: dict[str, dict[str, Any]] = {
    "a": {
        "lr": 1e-3,
        "status": Status.FINISHED,
        "acc": 0.71,
        "tags": ["keep", "night"],
        "group": "rates",
        "notes": "x y",
    },
    "b": {"lr": 1e-2, "status": Status.FAILED, "acc": None, "tags": ["Keep"], "group": "rates", "dataset": "other"},
    "c": {"lr": 1e-4, "status": Status.STOPPED, "acc": 0.5, "tags": [], "group": None, "flip": True},
    "d": {
        "lr": 1e-4,
        "status": Status.RUNNING,
        "acc": 0.69,
        "tags": ["keep"],
        "group": 'odd "50%_',
        "widths": [8, 16, 16],
    },
}


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Runs]:
    settings = settings_of(tmp_path_factory.mktemp("search"))
    database = Database(settings.url)
    database.migrate()
    with database.write() as session:
        for number, (name, about) in enumerate(RUNS.items()):
            overrides = {"optimizer.lr": about["lr"], "augment.flip": about.get("flip", False)}
            if "widths" in about:
                overrides["model.widths"] = about["widths"]
            run = Run(
                id=f"{number:x}" * 10, name=f"run {name}", dataset=about.get("dataset", "shapes100"), model="cnn",
                preset="baseline-cnn", spec=build_spec("shapes100", "baseline-cnn", overrides).model_dump(mode="json"),
                status=about["status"], tags=about["tags"], group=about["group"], notes=about.get("notes", ""),
                best_acc=about["acc"],
                summary={} if about["acc"] is None else {"val/acc": about["acc"], "parameters": 7},
                created_at=datetime(2026, 1, 10 + number, 12, tzinfo=UTC),
            )  # fmt: skip
            session.add(run)
            session.flush()
            add_values(session, run)
        session.add(Run(id="f" * 10, name="old", dataset="shapes100", model="cnn", preset=None, spec={}, starred=True))
    yield Runs(database, settings)
    database.close()


def found(runs: Runs, q: str, **more: str) -> str:
    page = runs.list(RunQuery.model_validate({"q": q, "sort": "name", **more}))
    return "".join(run.name[-1] if run.name != "old" else "o" for run in page.items)


@pytest.mark.parametrize(
    ("q", "names"),
    [
        ("", "oabcd"),
        ("run", "abcd"),
        ("run night", "a"),
        ('"run a"', "a"),
        ("RUN -name:a -name:b", "cd"),
        ("y x", "a"),
        ("keep", "abd"),
        ("lr<0.001", "cd"),
        ("lr<=1e-3", "oacd"),
        ("lr < 0.001", "cd"),
        ("optimizer.lr:1e-4", "cd"),
        ("lr:1e-4,0.01", "bcd"),
        ("lr!=1e-4", "oab"),
        ("-lr<0.001", "oab"),
        ("-lr:1e-4 -lr:1e-2", "oa"),
        ("wd:0", "oabcd"),
        ("val/acc>0.7", "a"),
        ("val/acc>=69%", "ad"),
        ("best>50%", "ad"),
        ("-val/acc>0.6", "obc"),
        ("val/acc:none", "ob"),
        ("parameters:7 val/acc<1", "acd"),
        ("val/never:1", ""),
        ("status:failed", "b"),
        ("status:failed,stopped", "bc"),
        ("-status:ended", "od"),
        ("status:active", "d"),
        ("tag:keep", "abd"),
        ("-tag:keep", "oc"),
        ("tag:none", "oc"),
        ("tag:NIGHT,none", "oac"),
        ("group:rates", "ab"),
        ("group:RATES", "ab"),
        ("group:none", "oc"),
        ("group:ra*", "ab"),
        ("-group:*a*", "ocd"),
        ('group:"odd \\"50%_"', "d"),
        ("group:*50%*", "d"),
        ("group:*5_%*", ""),
        ("dataset:other", "b"),
        ("preset:none", "o"),
        ("flip:yes", "c"),
        ("flip:no", "oabd"),
        ("starred:yes", "o"),
        ("widths:8,16,16", "d"),
        ("widths:8", ""),
        ("created>2026-01-11", "ocd"),
        ("created<=2026-01-11", "ab"),
        ("created:2026-01-12", "c"),
        ("started:none", "oabcd"),
        ('name:"n c"', "c"),
        ("notes:X", "a"),
        ("aaa:", None),
        ("id:3333333333", "d"),
        ("333333", "d"),
        ("compile:a*", "oabcd"),
        ("max_steps:none", "oabcd"),
        ("'; DROP TABLE run; --", ""),
        ("100% done", ""),
    ],
)
def test_what_a_search_finds(runs: Runs, q: str, names: str | None) -> None:
    if names is None:
        with pytest.raises(ValueError, match="at character 1"):
            found(runs, q)
    else:
        assert found(runs, q) == names


@pytest.mark.parametrize(
    ("q", "message", "position"),
    [
        ("run lr<abc", "optimizer.lr is a number, and 'abc' is not", 8),
        ("lr<", "a value is missing after 'lr<'", 4),
        ("status:dancing", "'dancing' is not a status", 8),
        ("status:failed,dancing", "'dancing' is not a status", 15),
        ("a leraning_rate:1", "there is no field 'leraning_rate'", 3),
        ("optimiser:sgd", "did you mean 'optimizer'", 1),
        ("peak>x", "schedule.peak is a number", 6),
        ("status<failed", "status has no order: write status:value", 8),
        ("starred:perhaps", "starred is yes or no", 9),
        ("created>soon", "created is a day such as 2026-01-31", 9),
        ("lr<nan", "is a number", 4),
        (" ".join(["a"] * 31), "at most 30 terms", 61),
    ],
)
def test_what_cannot_be_read_is_told_with_its_place(q: str, message: str, position: int) -> None:
    with pytest.raises(SearchError) as caught:
        parse(q)
    assert message in str(caught.value)
    assert caught.value.position == position
    assert f"(at character {position})" in str(caught.value)


def position_of_error(text: str) -> int | None:
    try:
        parse(text)
    except SearchError as error:
        return error.position
    return None


@given(
    st.lists(
        st.one_of(
            st.text(max_size=8),
            st.sampled_from(
                [*'-"\\*:<, %\x00', ">=", "!=", "lr", "status", "tag", "group", "val/acc", "created", "flip", "widths",
                 "none", "1e-3", "2026-01-01", "0001-01-01", "9999-12-31", "1e999"]
            ),
        ),
        max_size=12,
    )
)  # fmt: skip
def test_any_text_is_answered_or_refused_with_a_place(runs: Runs, parts: list[str]) -> None:
    text = "".join(parts)
    position = position_of_error(text)
    if position is not None:
        assert 1 <= position <= len(text) + 1
        return
    try:
        query = RunQuery.model_validate({"q": text})
    except ValueError:  # not a line of text
        return
    assert {run.name for run in runs.list(query).items} <= {"old", "run a", "run b", "run c", "run d"}


@pytest.mark.parametrize(
    "sort", ["lr", "-lr", "val/acc", "-val/acc", "duration", "-progress", "model.widths", "-starred", "tag"]
)
def test_any_column_sorts_and_missing_values_are_last(runs: Runs, sort: str) -> None:
    seen: list[str] = []
    cursor: str | None = None
    while True:
        page = runs.list(RunQuery.model_validate({"sort": sort, "limit": 2, "cursor": cursor}))
        seen += [run.name for run in page.items]
        cursor = page.next_cursor
        if cursor is None:
            break
    assert len(seen) == len(set(seen)) == 5
    if sort == "-val/acc":
        assert seen[:3] == ["run a", "run d", "run c"]
    if sort == "val/acc":
        assert seen[:3] == ["run c", "run d", "run a"]
    if sort == "-lr":
        assert seen[0] == "run b"
        assert set(seen[1:3]) == {"run a", "old"}  # an old run has the default


def test_metrics_follow_the_summary(runs: Runs) -> None:
    def put(summary: dict[str, Any]) -> None:
        with runs.database.write() as session:
            run = session.exec(select(Run).where(Run.name == "run b")).one()
            run.summary = summary
            put_metrics(session, run)

    put({"val/acc": 0.9, "epochs": 3, "note": "text", "yes": True})
    assert found(runs, "val/acc:0.9") == "b"
    assert found(runs, "epochs:3") == ""  # a setting keeps its value
    put({"val/acc": 0.8})
    assert found(runs, "val/acc:0.8") == "b"
    assert found(runs, "val/acc:0.9") == ""
    put({})
    assert found(runs, "val/acc:none") == "ob"
    assert found(runs, "lr:0.01") == "b"


def test_a_deleted_run_leaves_no_values(tmp_path: Path) -> None:
    database = new_database(tmp_path / "t.db")
    with database.write() as session:
        run = Run(id="x", name="x", dataset="d", model="cnn", spec={"epochs": 3}, summary={"val/acc": 0.5})
        session.add(run)
        session.flush()
        add_values(session, run)
    with database.write() as session:
        session.delete(session.exec(select(Run)).one())
    with database.read() as session:
        assert session.connection().exec_driver_sql("SELECT count(*) FROM runvalue").scalar() == 0
    database.close()
