"""Alerts: what is told, to whom, at least once; and what a service that misbehaves can do."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from typing import Any

import httpx
import pytest

from app.alerts.send import is_public
from tests.conftest import NARROW, Server, wait_for
from tests.web.alerts import redirected
from tests.web.alerts.redirected import PUBLIC
from tests.web.alerts.sinks import MailServer, Webhook, served
from tests.web.errors import assert_error

ALLOWED = {"TRACKSIDE_ALLOW_PRIVATE_ALERTS": "1", "TRACKSIDE_PUBLIC_URL": "https://lab.example.org"}
CAN_ISOLATE = os.geteuid() == 0 and all(map(shutil.which, ("unshare", "ip")))
FAST: dict[str, Any] = {**NARROW, "max_steps": 20, "batch_size": 64, "val_fraction": 0.02}


def add(client: httpx.Client, target: str, *on: str, **more: Any) -> str:
    answer = client.post("/api/alerts", json={"on": on, "target": target, **more})
    assert answer.status_code == 201, answer.text
    return str(answer.json()["id"])


def deliveries(client: httpx.Client) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = client.get("/api/alerts/deliveries").json()
    return found


def test_runs_the_queue_and_thresholds_are_told_once_each(server: Server) -> None:
    with served(Webhook()) as sink, served(MailServer()) as mail:
        server.start("web")
        server.start("worker", **ALLOWED)
        with server.client() as client:
            hook = f"json://127.0.0.1:{sink.port}/secret-path"
            add(client, hook, "finished", "failed", "queue_empty")
            limit = {"series": "train/loss", "above": 1.0}
            add(client, hook, "threshold", threshold=limit)
            mailto = f"mailto://127.0.0.1:{mail.port}/?from=trackside@example.org&to=me@example.org&mode=insecure"
            add(client, mailto, "finished")
            add(client, hook, "finished", run="another")
            assert "secret-path" not in client.get("/api/alerts").text
            # Alerts tell of what comes after they were made, and the worker has seen them.
            test = client.get("/api/alerts").json()[0]["id"]
            assert client.post(f"/api/alerts/{test}/test").status_code == 202
            wait_for(lambda: sink.taken, 60, "the test message")
            run = server.launch(name="first", overrides=FAST)
            server.wait_status(run, "finished")
            wait_for(lambda: len(sink.taken) >= 4 and mail.mails, 60, "the messages")
            client.patch(f"/api/runs/{run}", json={"notes": "its status is published once more"})
            wait_for(lambda: all(item["state"] == "sent" for item in deliveries(client)), 60, "the deliveries")
        titles = sorted(item["title"] for item in sink.taken)
        assert titles == ["The queue is empty", "Trackside: test", "first finished", "first: train/loss is above 1"]
        told = next(item["message"] for item in sink.taken if item["title"] == "first finished")
        assert "validation accuracy" in told
        assert f"https://lab.example.org/runs/{run}" in told
        assert len(mail.mails) == 1
        assert "first finished" in mail.mails[0]


def test_a_message_survives_a_dead_service_and_a_killed_worker(server: Server) -> None:
    with served(Webhook()) as sink:
        sink.behavior = "500"
        server.start("web")
        server.start("worker", **ALLOWED)
        with server.client() as client:
            alert = add(client, f"json://127.0.0.1:{sink.port}", "finished")
            client.post(f"/api/alerts/{alert}/test")
            wait_for(lambda: sink.asked, 60, "the first attempt")
            wait_for(lambda: deliveries(client)[0]["attempts"] >= 1, 60, "the failed attempt")
            assert deliveries(client)[0]["error"]
            server.kill("worker")
            sink.behavior = "take"
            server.start("worker", **ALLOWED)
            wait_for(lambda: sink.taken, 90, "the message")
            wait_for(lambda: deliveries(client)[0]["state"] == "sent", 30, "the delivery")


def test_a_service_that_hangs_keeps_nothing_else_waiting(server: Server) -> None:
    with served(Webhook()) as hanging, served(Webhook()) as sink:
        hanging.behavior = "hang"
        server.start("web")
        server.start("worker", **ALLOWED)
        with server.client() as client:
            slow = add(client, f"json://127.0.0.1:{hanging.port}", "finished")
            quick = add(client, f"json://127.0.0.1:{sink.port}", "finished")
            client.post(f"/api/alerts/{slow}/test")
            wait_for(lambda: hanging.asked, 60, "the service that hangs")
            client.post(f"/api/alerts/{quick}/test")
            wait_for(lambda: sink.taken, 20, "the other message")
            run = server.launch(overrides=FAST)
            server.wait_status(run, "finished")
            hanging.released.set()


def sent(target: str, *, allow_private: bool = False) -> tuple[int, str]:
    asked = {"target": target, "title": "t", "body": "b", "allow_private": allow_private}
    done = subprocess.run(
        [sys.executable, "-m", "app.alerts.send"], input=json.dumps(asked), capture_output=True, text=True, timeout=60
    )
    return done.returncode, done.stderr


def test_addresses_of_this_machine_and_network_are_refused() -> None:
    with served(Webhook()) as sink:
        for host in ("127.0.0.1", "localhost", "0.0.0.0", "[::1]"):
            status, error = sent(f"json://{host}:{sink.port}/")
            assert status == 1, host
            assert "not a public address" in error
        assert sent(f"json://[::ffff:127.0.0.1]:{sink.port}/")[0] == 1  # apprise does not read it
        assert sink.asked == 0
        assert sent(f"json://127.0.0.1:{sink.port}/", allow_private=True)[0] == 0
        sink.behavior = "close"
        assert sent(f"json://127.0.0.1:{sink.port}/", allow_private=True)[0] == 1
    assert not any(
        map(is_public, ("10.0.0.1", "192.168.1.1", "169.254.169.254", "fe80::1%eth0", "fd00::1", "224.0.0.1"))
    )
    assert is_public("9.9.9.9")


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({"on": ["finished"], "target": "file:///etc/passwd"}, "target"),
        ({"on": ["finished"], "target": "syslog://"}, "target"),
        ({"on": ["finished"], "target": "no address"}, "target"),
        ({"on": [], "target": "ntfys://ntfy.sh/a"}, "on"),
        ({"on": ["threshold"], "target": "ntfys://ntfy.sh/a"}, "threshold"),
        ({"on": ["finished"], "target": "ntfys://ntfy.sh/a", "threshold": {"series": "x", "above": 1}}, "threshold"),
        ({"on": ["threshold"], "target": "ntfys://ntfy.sh/a", "threshold": {"series": "x"}}, "either"),
        ({"on": ["disk_low"], "target": "ntfys://ntfy.sh/a", "run": "r"}, "of no run"),
    ],
)
def test_what_is_no_alert_is_refused(api: httpx.Client, body: dict[str, Any], said: str) -> None:
    answer = api.post("/api/alerts", json=body)
    assert_error(answer, 422)
    assert said in answer.text


def test_alerts_are_kept_like_secrets_and_deleted(api: httpx.Client, web: Server) -> None:
    alert = add(api, "ntfys://user:geheim@ntfy.sh/topic", "finished", name="phone")
    page = api.get("/alerts", headers={"accept": "text/html"}).text
    assert "phone" in page
    assert "geheim" not in page + api.get(f"/api/alerts/{alert}").text
    file = web.settings.access / "alerts.json"
    assert file.stat().st_mode & 0o777 == 0o600
    assert api.delete(f"/api/alerts/{alert}").status_code == 204
    assert_error(api.delete(f"/api/alerts/{alert}"), 404)
    assert_error(api.post(f"/api/alerts/{alert}/test"), 404)


@pytest.mark.skipif(not CAN_ISOLATE, reason="a network of one's own takes Linux, root, unshare and ip")
def test_a_public_service_cannot_redirect_inward() -> None:
    inside = f"ip link set lo up && ip address add {PUBLIC}/32 dev lo && exec {sys.executable} -m {redirected.__name__}"
    done = subprocess.run(["unshare", "--net", "sh", "-c", inside], capture_output=True, text=True, timeout=110)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["taken"]["status"] == 0
    assert found["redirected"]["status"] == 1
    assert "127.0.0.1 is not a public address" in found["redirected"]["error"][0]
    assert found["inner"] == 0
    assert found["outer"] >= 2
