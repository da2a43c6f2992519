"""A thread of a worker that writes down what is to be told, and sends it. One worker of a home does so at a time."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor

from app.alerts.journal import Delivery, Journal
from app.alerts.occasions import disk_is_low, look
from app.alerts.store import Alert, Alerts
from app.auth.private_files import DamagedFile
from app.settings import Settings
from app.storage.db import Database
from trainer.system.locks import lock_descriptor

PACE_SECONDS = 0.5
DISK_SECONDS = 60.0
SEEN_SECONDS = 60.0
SEND_SECONDS = 30.0  # after which a service counts as not answering
AT_ONCE = 4  # messages, so that a slow service does not keep others waiting

log = logging.getLogger(__name__)


class AlertSender:
    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._alerts = Alerts(settings.access)
        self._journal = Journal(settings.alerts)
        self._thread = threading.Thread(target=self._run, name="alerts", daemon=True)
        self._ending = threading.Event()
        self._sending: dict[str, Future[str | None]] = {}
        self._seen: int | None = None  # the changes that were looked at
        self._seen_at = 0.0
        self._disk_at = 0.0

    def start(self) -> None:
        self._thread.start()

    def close(self) -> None:
        self._ending.set()
        self._thread.join(timeout=5)

    def _run(self) -> None:
        database = Database(self._settings.url)
        self._settings.alerts.mkdir(mode=0o700, parents=True, exist_ok=True)
        fd = os.open(self._settings.alerts / "sender.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        with ThreadPoolExecutor(AT_ONCE, "alert") as pool:
            while not self._ending.wait(PACE_SECONDS):
                try:
                    if lock_descriptor(fd, wait=False):
                        self._turn(database, pool)
                except Exception:  # whatever went wrong, the next turn begins with what is durable
                    log.exception("alerts")
        os.close(fd)
        database.close()

    def _turn(self, database: Database, pool: ThreadPoolExecutor) -> None:
        try:
            alerts = self._alerts.all()
        except DamagedFile:
            return
        self._journal.catch_up()
        if not alerts and self._journal.seen is None:
            return
        self._note(database, alerts)
        self._deliver({alert.id: alert for alert in alerts}, pool)
        self._journal.compact()

    def _note(self, database: Database, alerts: tuple[Alert, ...]) -> None:
        """Write down what has happened since the last time, before it counts as seen."""
        while True:
            after = self._journal.seen if self._seen is None else self._seen
            with database.read() as session:
                found = look(session, alerts, after, self._settings.public_url)
            if found is None:
                break
            new = self._new(found.deliveries)
            # Without news, the position is written down rarely: what is looked at twice is told once.
            if new or self._journal.seen is None or time.monotonic() >= self._seen_at:
                self._journal.put(new, found.seq)
                self._seen_at = time.monotonic() + SEEN_SECONDS
            self._seen = found.seq
        if time.monotonic() >= self._disk_at:
            self._disk_at = time.monotonic() + DISK_SECONDS
            self._journal.put(self._new(disk_is_low(alerts, self._settings.home, time.time())))

    def _new(self, deliveries: list[Delivery]) -> list[Delivery]:
        return [d for d in {d.key: d for d in deliveries}.values() if d.key not in self._journal.deliveries]

    def _deliver(self, alerts: dict[str, Alert], pool: ThreadPoolExecutor) -> None:
        for key, future in list(self._sending.items()):
            if future.done():
                del self._sending[key]
                error = future.result()
                delivery = self._journal.deliveries[key]
                if error is None:
                    self._journal.sent(delivery)
                else:
                    log.warning("an alert could not be sent (attempt %d): %s", delivery.attempts + 1, error)
                    self._journal.failed(delivery, error)
        for delivery in list(self._journal.deliveries.values()):
            if delivery.state != "due" or delivery.key in self._sending or delivery.next_at > time.time():
                continue
            alert = alerts.get(delivery.alert)
            if alert is None:
                self._journal.sent(delivery)  # the alert was deleted
            elif len(self._sending) < AT_ONCE:
                self._sending[delivery.key] = pool.submit(self._send, alert, delivery)

    def _send(self, alert: Alert, delivery: Delivery) -> str | None:
        """Send one message. Returns why it failed, None if it was taken."""
        asked = {
            "target": alert.request.target,
            "title": delivery.title,
            "body": delivery.body,
            "allow_private": self._settings.allow_private_alerts,
        }
        command = [sys.executable, "-m", "app.alerts.send"]
        try:
            done = subprocess.run(
                command, input=json.dumps(asked), capture_output=True, text=True, timeout=SEND_SECONDS
            )
        except subprocess.TimeoutExpired:
            return f"the service did not answer within {SEND_SECONDS:.0f} s"
        lines = [line for line in done.stderr.splitlines() if line.strip()]
        return None if done.returncode == 0 else (lines[-1] if lines else f"exit status {done.returncode}")
