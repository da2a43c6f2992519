from __future__ import annotations

from typing import Any

import httpx
import pytest
from sqlmodel import select

from app.storage.db import Database
from app.storage.tables import Finding, Run, Status
from tests.conftest import Server

EVIDENCE = {
    "measured": 12.5,
    "threshold": 1.5,
    "lines": {"training loss": [[1, 2, 3], [2.3, None, 29.0]]},
    "remedy": {"label": "learning rate 1e-4", "overrides": {"optimizer.lr": 1e-4}},
}


@pytest.fixture(scope="module")
def run_id(web: Server) -> str:
    """A queued run with two findings."""
    run_id = web.launch()
    database = Database(web.settings.url)
    with database.write() as session:
        key = session.exec(select(Run.key).where(Run.id == run_id)).one() or 0
        session.add(Finding(run=key, step=0, kind="check/input", level="look", message="Look <b>here</b>.", time=1.0))
        session.add(
            Finding(run=key, step=20, kind="lr_too_high", level="fail", message="Up.", evidence=EVIDENCE, time=2.0)
        )
    database.close()
    return run_id


def test_findings_are_listed_with_evidence_and_remedy(api: httpx.Client, run_id: str) -> None:
    first, second = api.get(f"/api/runs/{run_id}/findings").json()
    assert first["kind"] == "check/input"
    assert first["remedy"] is None
    assert second["remedy"] == EVIDENCE["remedy"]
    assert second["evidence"] == {key: value for key, value in EVIDENCE.items() if key != "remedy"}


def test_a_remedy_is_tried_by_a_clone(api: httpx.Client, run_id: str) -> None:
    without, having = (item["id"] for item in api.get(f"/api/runs/{run_id}/findings").json())
    answer = api.post(f"/api/runs/{run_id}/findings/{having}/try")
    assert answer.status_code == 201
    assert answer.json()["spec"]["optimizer"]["lr"] == 1e-4
    assert answer.json()["parent"] == run_id
    assert answer.headers["location"] == f"/api/runs/{answer.json()['id']}"
    assert api.post(f"/api/runs/{run_id}/findings/{without}/try").status_code == 409


@pytest.mark.parametrize(
    "path",
    ["/api/runs/none/findings", "/api/runs/{}/checks/input.png", "/api/runs/{}/checks/..%2Fspec.png",
     "/api/runs/{}/checkpoints/3/filters.png"],
)  # fmt: skip
def test_what_is_not_there(api: httpx.Client, run_id: str, path: str) -> None:
    assert api.get(path.format(run_id)).status_code == 404
    assert api.post(f"/api/runs/{run_id}/findings/999999/try").status_code == 404


def test_symptoms_stand_below_their_cause_and_what_has_ended_is_marked(web: Server, api: httpx.Client) -> None:
    run_id = web.launch()
    add_finding(web, run_id, kind="loss_stalled", level="info", message="It stalls.", evidence={"cause": "momentum"})
    number = {"name": "momentum", "measured": 0.99, "threshold": 0.98, "unit": "x"}
    add_finding(web, run_id, kind="momentum", message="Momentum.", evidence=number)
    add_finding(web, run_id, kind="overfitting", message="It overfits.", evidence={"ended": 80})
    rules = {"rules": [["A", None], ["B", "no"]]}
    add_finding(web, run_id, kind="coverage", level="pass", message="c", evidence=rules)
    page = api.get(f"/runs/{run_id}").text
    assert page.count("data-finding=") == 2
    assert page.index("Momentum.") < page.index('data-symptom="loss_stalled"') < page.index("It overfits.")
    assert "momentum 0.99x, threshold 0.98x" in page
    assert page.count("no longer holds since step 80") == page.count("data-ended") == 1
    checks = api.get(f"/runs/{run_id}?tab=checks").text
    assert "Rules evaluated: 1 of 2" in checks
    assert "not evaluated (no)" in checks
    assert checks.count("Explained by: momentum") == 1
    assert checks.count('class="verdict" data-level="symptom"') == 1


def test_a_remedy_that_did_no_better_is_not_offered_again(web: Server, api: httpx.Client) -> None:
    run_id = web.launch(overrides={"model.dropout": 0.3})
    evidence = {"remedy": {"label": "learning rate 1e-4", "overrides": {"optimizer.lr": 1e-4}}}
    add_finding(web, run_id, kind="lr_too_high", message="Up.", evidence=evidence)
    finding = api.get(f"/api/runs/{run_id}/findings").json()[0]
    copy = api.post(f"/api/runs/{run_id}/findings/{finding['id']}/try?stop=true").json()
    assert api.get(f"/api/runs/{run_id}").json()["status"] == "stopped"
    assert copy["status"] == "queued"
    ended = {"status": Status.FINISHED, "val_count": 500}
    change(web, run_id, best_acc=0.31, **ended)
    change(web, copy["id"], best_acc=0.32, **ended)
    finding = api.get(f"/api/runs/{run_id}/findings").json()[0]
    assert [(trial["run"], trial["outcome"]) for trial in finding["trials"]] == [(copy["id"], "no better")]
    assert finding["remedy"]["overrides"] == {"model.dropout": 0.0}
    change(web, copy["id"], best_acc=0.6)
    finding = api.get(f"/api/runs/{run_id}/findings").json()[0]
    assert finding["trials"][0]["outcome"] == "better"
    assert finding["remedy"] == evidence["remedy"]


def test_the_same_step_needs_evidence_after_one_that_did_not_help(web: Server, api: httpx.Client) -> None:
    first = web.launch()
    copy = api.post(f"/api/runs/{first}/clone", json={"overrides": {"optimizer.lr": 1e-4}}).json()["id"]
    for run_id in (first, copy):
        change(web, run_id, status=Status.FINISHED, val_count=500, best_acc=0.1)
    evidence = {"remedy": {"label": "learning rate 1e-5", "overrides": {"optimizer.lr": 1e-5}}}
    add_finding(web, copy, kind="lr_too_high", message="Up.", evidence=evidence)
    add_finding(web, copy, kind="lr_too_high", message="Up.", evidence={**evidence, "probe": True})
    assert [item["remedy"] for item in api.get(f"/api/runs/{copy}/findings").json()] == [None, evidence["remedy"]]


def add_finding(web: Server, run_id: str, **fields: Any) -> None:
    database = Database(web.settings.url)
    with database.write() as session:
        key = session.exec(select(Run.key).where(Run.id == run_id)).one() or 0
        session.add(Finding(run=key, **{"step": 20, "level": "fail", "time": 1.0, **fields}))
    database.close()


def change(web: Server, run_id: str, **fields: Any) -> None:
    database = Database(web.settings.url)
    with database.write() as session:
        row = session.exec(select(Run).where(Run.id == run_id)).one()
        for name, value in fields.items():
            setattr(row, name, value)
        session.add(row)
    database.close()


def test_the_page_shows_what_is_trouble_as_text(api: httpx.Client, run_id: str) -> None:
    page = api.get(f"/runs/{run_id}").text
    assert page.count("data-finding=") == 1
    assert "value 12.5, threshold 1.5" in page
    assert 'd="M0.0 69.0L240.0 3.0"' in page  # the null value is omitted
    assert "Look &lt;b&gt;here&lt;/b&gt;." in api.get(f"/runs/{run_id}?tab=checks").text
