from __future__ import annotations

import httpx
import pytest
from sqlmodel import select

from app.storage.db import Database
from app.storage.tables import Finding, Run
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


def test_the_page_shows_what_is_trouble_as_text(api: httpx.Client, run_id: str) -> None:
    page = api.get(f"/runs/{run_id}").text
    assert page.count("data-finding=") == 1
    assert "value 12.5, threshold 1.5" in page
    assert 'd="M0.0 69.0L240.0 3.0"' in page  # the null value is omitted
    assert "Look &lt;b&gt;here&lt;/b&gt;." in api.get(f"/runs/{run_id}?tab=checks").text
