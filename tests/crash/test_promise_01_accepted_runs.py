"""Promise 1: a run answered with 201 is never lost."""

from __future__ import annotations

import random
import threading

import httpx

from tests.conftest import Server


def test_promise_01_killing_the_web_process_loses_no_accepted_run(server: Server) -> None:
    accepted: list[str] = []
    chance = random.Random(1)
    for _ in range(4):
        server.start("web")
        enough = threading.Event()
        target = len(accepted) + chance.randint(1, 12)

        def post(target: int = target, enough: threading.Event = enough) -> None:
            with server.client() as client:
                while True:
                    try:
                        answer = client.post(
                            "/api/runs", json={"dataset": "shapes100", "preset": "baseline-cnn", "name": "x"}
                        )
                    except httpx.TransportError:
                        return
                    assert answer.status_code == 201
                    accepted.append(answer.json()["id"])
                    if len(accepted) >= target:
                        enough.set()

        poster = threading.Thread(target=post)
        poster.start()
        assert enough.wait(30)
        server.kill("web")
        poster.join(30)
    server.start("web")
    with server.client() as client:
        listed = client.get("/api/runs", params={"limit": 500}).json()["items"]
    assert set(accepted) <= {run["id"] for run in listed}
    for run_id in accepted:
        folder = server.settings.runs / run_id
        assert (folder / "committed").exists()
        assert (folder / "spec.json").exists()
