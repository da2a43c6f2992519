"""Decisions made during a run are replayed at the same steps."""

from __future__ import annotations

from pathlib import Path

from trainer.plan.decisions import Decisions
from trainer.rundir.folder import RunDir


def test_recorded_decisions_come_back_at_their_steps(tmp_path: Path) -> None:
    first = Decisions(tmp_path)
    taken = [first.take(10, "plan", total=500), first.take(48, "compile", on=True), first.take(90, "plan", total=480)]
    again = Decisions(tmp_path)
    assert again.due(9) == []
    assert again.replaying
    assert again.due(48) == taken[:2]
    assert again.taken == taken[:2]
    assert again.due(1000) == taken[2:]
    assert not again.replaying


def test_a_new_decision_voids_those_recorded_ahead(tmp_path: Path) -> None:
    first = Decisions(tmp_path)
    kept = first.take(10, "plan", total=500)
    first.take(90, "plan", total=480)
    again = Decisions(tmp_path)
    again.due(50)
    new = again.take(50, "wind-down")
    assert Decisions(tmp_path).due(1000) == [kept, new]


def test_a_torn_line_was_never_decided(tmp_path: Path) -> None:
    whole = Decisions(tmp_path).take(10, "plan", total=500)
    with RunDir(tmp_path).decisions.open("ab") as file:
        file.write(b'{"step": 20, "ki')
    again = Decisions(tmp_path)
    assert again.due(1000) == [whole]
    new = again.take(30, "plan", total=400)
    assert Decisions(tmp_path).due(1000) == [whole, new]


def test_an_inserted_decision_keeps_those_recorded_ahead(tmp_path: Path) -> None:
    first = Decisions(tmp_path)
    switch, plan = first.take(48, "compile", on=True), first.take(60, "plan", total=480)
    again = Decisions(tmp_path)
    assert again.due(50) == [switch]
    back = again.insert(48, "compile", on=False)
    assert again.due(60) == [back, plan]
    assert Decisions(tmp_path).due(1000) == [switch, back, plan]
    assert again.first("compile") == switch
    assert again.first("precision") is None
