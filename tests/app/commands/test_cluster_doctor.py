"""What `trackside doctor` says of a cluster that cannot be reached. tests/cluster has one that can."""

from __future__ import annotations

import socket
from datetime import UTC, datetime, timedelta
from importlib.metadata import version
from pathlib import Path

import pytest

from app.commands.cluster_doctor import examine_home_cluster, examine_join
from app.host.nodes import Draining, Nodes
from app.settings import Settings
from app.storage.db import Database
from app.storage.tables import Worker
from app.supervisor import free_port
from tests.databases import settings_of

pytest.importorskip("ray", reason="the extra trackside[cluster] is not installed")


@pytest.fixture
def token(tmp_path: Path) -> Path:
    path = tmp_path / "cluster-token"
    path.write_text("0" * 64)
    path.chmod(0o600)
    return path


def said_of_join(address: str, token: Path) -> tuple[list[str], list[str]]:
    facts: list[str] = []
    problems: list[str] = []
    examine_join(address, token, facts, problems)
    return facts, problems


def test_a_head_that_is_not_there(token: Path) -> None:
    facts, (problem,) = said_of_join(f"127.0.0.1:{free_port('127.0.0.1')}", token)
    assert facts[0].startswith(f"cluster: Ray {version('ray')}, Python ")
    assert facts[1] == f"cluster: token in {token.resolve()}, mode 0600"
    assert "nothing answers at 127.0.0.1" in problem
    assert "Connection refused" in problem


def test_something_else_that_listens(token: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        _, (problem,) = said_of_join(f"127.0.0.1:{listening.getsockname()[1]}", token)
    assert "does not answer as the head of a cluster" in problem


def test_a_token_that_others_can_read(token: Path) -> None:
    token.chmod(0o644)
    _, problems = said_of_join(f"127.0.0.1:{free_port('127.0.0.1')}", token)
    assert f"others may read the token, with which any code can be run: chmod 600 {token}" in problems[0]


def test_a_token_that_is_missing_or_empty(token: Path) -> None:
    token.write_text("\n")
    assert said_of_join("10.0.0.5", token)[1] == [f"cluster: {token} is empty: copy it from the home"]
    token.unlink()
    assert "cannot be read (No such file or directory): copy it from the home" in said_of_join("10.0.0.5", token)[1][0]


def test_the_nodes_of_a_home(tmp_path: Path) -> None:
    settings: Settings = settings_of(tmp_path)
    database = Database(settings.url)
    database.migrate()
    facts: list[str] = []
    problems: list[str] = []
    examine_home_cluster(settings, database, facts, problems)
    assert (facts, problems) == ([], [])  # it has no cluster
    (tmp_path / "cluster-token").write_text("0" * 64)
    (tmp_path / "cluster-token").chmod(0o600)
    seen_at = datetime.now(UTC) + timedelta(hours=1)
    descriptions = {
        "a": "2 cores, clock 40 s ahead",
        "b": "not used: its disk is almost full",
        "c": "not used: drained",
    }
    with database.write() as session:
        for host, text in descriptions.items():
            row = Worker(id=host, host=host, pid=1, device=f"{host}/cpu", description=text, seen_at=seen_at)
            session.add(row)
    Nodes(settings, database).drain("c", Draining.FINISH)
    examine_home_cluster(settings, database, facts, problems)
    assert facts[2:] == [
        "node a: a/cpu, 2 cores, clock 40 s ahead",
        "node c (drained): c/cpu, not used: drained",
    ]
    assert problems == ["node b: b/cpu, not used: its disk is almost full"]
    database.close()
