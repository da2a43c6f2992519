"""What a token may do, where it is sent, and how it is made and revoked."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from app.auth.scopes import Scope
from app.auth.tokens import Tokens
from app.storage.db import Database
from app.storage.tables import Status, Task
from tests.databases import settings_of
from tests.web.errors import assert_error
from tests.web.locked import Locked
from tests.web.test_pages import Visitor

READS = (
    "/", "/runs/{run}", "/lanes", "/datasets", "/system", "/api/runs", "/api/runs/{run}", "/api/datasets", "/metrics",
    "/openapi.json", "/docs", "/api/workers", "/results", "/models", "/compare",
)  # fmt: skip
LAUNCHES = (
    ("POST", "/api/runs"), ("PATCH", "/api/runs/0"), ("DELETE", "/api/runs/0"), ("POST", "/api/runs/0/stop"),
    ("POST", "/api/runs/bulk"), ("POST", "/runs/0/delete"), ("POST", "/runs"), ("POST", "/api/datasets"),
    ("PUT", "/api/models/x"), ("POST", "/api/tasks/0/retry"),
)  # fmt: skip
PREDICTS = (("POST", "/api/predict"), ("POST", "/v2/models/x/infer"))
ADMINS = (("GET", "/tokens"), ("POST", "/tokens"), ("POST", "/tokens/x/revoke"), ("GET", "/nothing"), ("PUT", "/api/x"))


@pytest.mark.parametrize(
    ("token", "may"),
    [
        ("read", {"reads", "protocol"}),
        ("predict", {"predicts", "protocol"}),
        ("both", {"reads", "predicts", "protocol"}),
        ("launch", {"reads", "predicts", "launches", "protocol"}),
        ("admin", {"reads", "predicts", "launches", "admins", "protocol"}),
    ],
)
def test_scopes(locked: Locked, token: str, may: set[str]) -> None:
    rows = [("reads", "GET", path) for path in READS] + [("protocol", "GET", "/v2")]
    for group, calls in (("launches", LAUNCHES), ("predicts", PREDICTS), ("admins", ADMINS)):
        rows += [(group, method, path) for method, path in calls]
    with locked.client(token) as client:
        for group, method, path in rows:
            answer = client.request(method, path.replace("{run}", locked.run))
            assert (answer.status_code == 403) == (group not in may), (method, path, answer.status_code)
            assert answer.status_code != 401
            if answer.status_code == 403:
                assert answer.json()["error"]["code"] == "scope_missing"


def test_a_token_that_may_predict_fetches_the_tasks_that_classify_images(locked: Locked) -> None:
    database = Database(locked.server.settings.url)
    with database.write() as session:
        session.add(Task(id="00000000c1", kind="predict", request={}, status=Status.FINISHED))
        session.add(Task(id="00000000d1", kind="dataset", request={}, status=Status.FINISHED))
    database.close()
    (locked.server.settings.tasks / "00000000c1").mkdir(parents=True)
    (locked.server.settings.tasks / "00000000c1" / "predictions.csv").write_text("file,rank\n")
    with locked.client("predict") as client:
        assert client.get("/api/tasks/00000000c1").json()["kind"] == "predict"
        assert client.get("/api/tasks/00000000c1/file").text == "file,rank\n"
        for path in ("00000000d1", "00000000d1/file", "none"):
            assert_error(client.get(f"/api/tasks/{path}"), 404)
        for path in ("/api/tasks", "/api/tasks/00000000c1/x"):
            assert_error(client.get(path), 403)
    for token in ("read", "both"):
        with locked.client(token) as client:
            assert client.get("/api/tasks/00000000d1").json()["kind"] == "dataset"


def test_tokens_that_are_made_at_the_same_time_are_all_kept(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as threads:
        made = list(threads.map(lambda number: Tokens(tmp_path).add(f"token-{number}", [Scope.READ]), range(24)))
    found = [Tokens(tmp_path).find(text) for text in made]
    assert [None if token is None else token.name for token in found] == [f"token-{number}" for number in range(24)]
    assert (tmp_path / "lock").stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "tokens.json").stat().st_mode & 0o777 == 0o600


def test_a_path_of_the_servers_disk_is_for_admins(locked: Locked) -> None:
    body = {"name": "disk", "source": "/etc"}
    with locked.client("launch") as client:
        assert_error(client.post("/api/datasets", json=body), 403)
    with locked.client("admin") as client:
        assert client.post("/api/datasets", json=body).status_code in (202, 422)


def test_wrong_tokens_and_tokens_where_none_belongs(locked: Locked) -> None:
    good = locked.tokens["admin"]
    with locked.client() as client:
        for sent in ("Bearer", f"Bearer {good}x", f"Bearer {good[:-1]}", f"Basic {good}",
                     f"Bearer {good} x", good, "Bearer \xff"):  # fmt: skip
            assert_error(client.get("/api/runs", headers=[(b"authorization", sent.encode("latin-1"))]), 401)
        for query in (f"token={good}", f"access_token={good}", f"authorization=Bearer%20{good}"):
            assert_error(client.get(f"/api/runs?{query}"), 401)
        assert_error(client.get("/api/runs", headers={"cookie": f"{locked.cookie_name}={good}"}), 401)
        # A token that is sent decides, whatever the cookie.
    with locked.signed_in() as client:
        assert client.get("/api/runs").status_code == 200
        assert_error(client.get("/api/runs", headers={"authorization": "Bearer nonsense"}), 401)
        read = {"authorization": f"Bearer {locked.tokens['read']}"}
        assert_error(client.post("/api/runs/0/stop", headers=read), 403)


def test_a_token_that_is_sent_is_heeded_without_a_password_too(tmp_path: Path) -> None:
    settings = settings_of(tmp_path)
    visitor = Visitor(settings)
    dummy = {"authorization": "Bearer dummy"}
    assert visitor.get("/api/presets", dummy).status_code == 200  # there are no tokens: nothing is asked
    text = Tokens(settings.access).add("reader", [Scope.READ])
    assert_error(visitor.get("/api/presets", dummy), 401)
    assert visitor.get("/api/presets", {"authorization": f"bearer {text}"}).status_code == 200
    assert visitor.get("/tokens", {"authorization": f"bearer {text}"}).status_code == 403
    assert visitor.get("/api/presets").status_code == 200
    visitor.app.state.services.database.close()


def test_tokens_are_made_and_revoked_on_their_page(locked: Locked) -> None:
    with locked.signed_in() as client:
        made = client.post("/tokens", data={"name": "from-the-page", "scope": ["read", "predict"]})
        assert made.status_code == 200
        assert made.headers["cache-control"] == "no-store"
        text = made.text.partition("data-made")[2].partition(">")[2].partition("<")[0]
        assert text.startswith("trackside_")
        locked.tokens["from-the-page"] = text
        with locked.client("from-the-page") as program:
            assert program.get("/api/runs").status_code == 200
        page = client.get("/tokens").text
        assert text not in page
        row = page.partition('data-token="from-the-page"')[2].partition("</tr>")[0]
        assert "predict, read" in row
        assert "never" not in row
        for data, status in (({"name": "from-the-page", "scope": "read"}, 409), ({"name": "a b", "scope": "read"}, 422),
                             ({"name": "ok"}, 422), ({"name": "ok", "scope": "all"}, 422)):  # fmt: skip
            assert_error(client.post("/tokens", data=data), status)
        assert client.post("/tokens/from-the-page/revoke").status_code == 303
        assert_error(client.post("/tokens/from-the-page/revoke"), 404)
        with locked.client("from-the-page") as program:
            assert_error(program.get("/api/runs"), 401)


def test_last_uses_are_written_aside(tmp_path: Path) -> None:
    tokens = Tokens(tmp_path)
    texts = [tokens.add(name, [Scope.READ]) for name in ("a", "b")]
    before = (tmp_path / "tokens.json").stat().st_mtime_ns
    assert tokens.find(texts[0]) is not None
    assert not (tmp_path / "token-uses.json").exists()
    tokens.write_uses()
    used = {token.name: when for token, when in Tokens(tmp_path).list()}
    assert used["a"] == pytest.approx(time.time(), abs=30)
    assert used["b"] is None
    assert (tmp_path / "tokens.json").stat().st_mtime_ns == before
    tokens.revoke("a")
    assert tokens.find(texts[0]) is None
    tokens.write_uses()
    assert (tmp_path / "token-uses.json").read_bytes() == b"{}"
