"""Moving a queued run to "now": the running run saves a checkpoint, is preempted, and resumes afterwards."""

from __future__ import annotations

from tests.conftest import ENDLESS, NARROW, Server, wait_for


def test_a_run_makes_way_and_goes_on_where_it_was(server: Server) -> None:
    server.start("web", "worker")
    long = server.launch(name="long", overrides={**ENDLESS, "log_every": 1})
    server.wait_step(long, 20)
    waits = server.launch(name="waits", overrides=ENDLESS)
    urgent = server.launch(name="urgent", overrides={**NARROW, "max_steps": 10})
    with server.client() as client:
        assert client.post(f"/api/runs/{urgent}/move", json={"to": "now"}).status_code == 200
        server.wait_status(urgent, "finished")
        assert server.run(waits)["status"] == "queued"
        wait_for(lambda: server.run(long)["attempt"] == 2, what="the second attempt")
        resumed = server.run(long)
        server.wait_step(long, resumed["step"] + 20)
        client.post(f"/api/runs/{waits}/stop")
        client.post(f"/api/runs/{long}/stop")
        ended = server.wait_status(long, "stopped")
    steps = server.series(long, "train/loss")["train/loss"]["step"]
    assert steps == sorted(set(steps)), "no step is missing, none is there twice"
    assert len(steps) >= ended["step"] - 1
