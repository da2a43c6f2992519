"""The alerts: a private file of the home, since their targets hold secrets."""

from __future__ import annotations

import secrets
import time
from pathlib import Path

import orjson
from pydantic import BaseModel, ConfigDict

from app.alerts.requests import NewAlert, Occasion, Threshold, shown_target
from app.auth.private_files import PRIVATE, CachedFile, locked
from app.errors import ApiError, not_found
from trainer.system.durable import write_durably

FILE = "alerts.json"
MOST = 200


class Alert(BaseModel):
    """`created` in seconds since the epoch."""

    model_config = ConfigDict(frozen=True)

    id: str
    created: float
    request: NewAlert


class AlertPublic(BaseModel):
    """`target` is without its secrets."""

    id: str
    name: str
    on: list[Occasion]
    target: str
    run: str | None
    project: str | None
    threshold: Threshold | None
    created: float


class Alerts:
    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._file: CachedFile[tuple[Alert, ...]] = CachedFile(folder / FILE, _parse, ())

    def all(self) -> tuple[Alert, ...]:
        """Raises DamagedFile."""
        return self._file.value()

    def get(self, alert_id: str) -> Alert:
        """Raises ApiError 404."""
        found = next((alert for alert in self.all() if alert.id == alert_id), None)
        if found is None:
            raise not_found("alert", alert_id)
        return found

    def add(self, request: NewAlert) -> Alert:
        """Raises ApiError 409: there are MOST of them."""
        alert = Alert(id=secrets.token_hex(5), created=time.time(), request=request)
        with locked(self._folder):
            kept = self.all()
            if len(kept) >= MOST:
                raise ApiError(409, "too_many_alerts", f"There are {MOST} alerts: delete one first.")
            self._write([*kept, alert])
        return alert

    def delete(self, alert_id: str) -> None:
        """Raises ApiError 404."""
        with locked(self._folder):
            self.get(alert_id)
            self._write([alert for alert in self.all() if alert.id != alert_id])

    def _write(self, alerts: list[Alert]) -> None:
        content = orjson.dumps([alert.model_dump(mode="json") for alert in alerts])
        write_durably(self._file.path, content, mode=PRIVATE)


def public_alert(alert: Alert) -> AlertPublic:
    asked = alert.request
    return AlertPublic(
        id=alert.id,
        name=asked.name,
        on=asked.on,
        target=shown_target(asked.target),
        run=asked.run,
        project=asked.project,
        threshold=asked.threshold,
        created=alert.created,
    )


def _parse(data: bytes) -> tuple[Alert, ...]:
    return tuple(Alert.model_validate(item) for item in orjson.loads(data))
