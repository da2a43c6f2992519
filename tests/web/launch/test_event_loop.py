"""What the launch page asks for blocks no stream and no prediction: its queries run outside of the event loop."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
from sqlalchemy import Engine, event

from app.storage.db import Database
from app.storage.tables import Run, Status
from tests.app.predictor.predict_home import make_dataset
from tests.databases import settings_of
from tests.web.predict.serving import serving
from trainer.spec.preset import build_spec

WORKER = "AnyIO worker thread"


def add_finished(database: Database, count: int) -> None:
    now = datetime.now(UTC)
    with database.write() as session:
        for number in range(count):
            spec = build_spec("tiny", "baseline-cnn", {"seed": number, "batch_size": 4})
            session.add(
                Run(
                    id=f"{number:010x}",
                    name=f"run {number}",
                    dataset="tiny",
                    model="cnn",
                    preset="baseline-cnn",
                    spec=spec.model_dump(mode="json"),
                    status=Status.FINISHED,
                    attempt=1,
                    step=100,
                    created_at=now,
                    started_at=now - timedelta(seconds=50),
                    finished_at=now,
                )
            )


@contextmanager
def statements() -> Iterator[list[tuple[str, str]]]:
    """Yield the statements that are executed, each with the name of its thread."""
    seen: list[tuple[str, str]] = []

    def note(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        seen.append((statement, threading.current_thread().name))

    event.listen(Engine, "before_cursor_execute", note)
    try:
        yield seen
    finally:
        event.remove(Engine, "before_cursor_execute", note)


def test_queries_of_the_launch_page_run_outside_of_the_event_loop(tmp_path: Path) -> None:
    settings = settings_of(tmp_path)
    make_dataset(tmp_path)
    database = Database(settings.url)
    database.migrate()
    add_finished(database, 5)
    database.close()
    asked = {"dataset": "tiny", "preset": "baseline-cnn", "overrides": '{"batch_size": 4, "max_steps": 8}'}
    with serving(settings) as address, httpx.Client(base_url=address, timeout=60) as client:
        with statements() as seen:
            answer = client.get("/api/preview", params=asked).raise_for_status().json()
            typed = {"dataset": "tiny", "preset": "baseline-cnn", "from": f"{1:010x}", "epochs": "none"}
            assert client.post("/runs", data=typed).status_code == 422
            assert client.get("/api/runs/none/events").status_code == 404
        assert (answer["seconds"], answer["basis"]) == (4.0, "measured")
        of_runs = [(statement, thread) for statement, thread in seen if "FROM run" in statement]
        assert len(of_runs) >= 3
        assert {thread for _, thread in of_runs} == {WORKER}
        (paces,) = [statement for statement, _ in of_runs if "run.finished_at DESC" in statement]
        columns = paces.partition("FROM run")[0]
        assert columns.count(",") == 3  # of about 40
