"""Alerts: their API, and the page on which they are made."""

from __future__ import annotations

import secrets
import time
from dataclasses import dataclass

from fastapi import APIRouter, Request, Response
from fastapi.responses import RedirectResponse
from pydantic import BaseModel

from app.alerts.journal import Delivery, Journal
from app.alerts.requests import NewAlert, Occasion
from app.alerts.store import AlertPublic, Alerts, public_alert
from app.settings import Settings
from app.web.errors import described
from app.web.forms import checked, render
from app.web.root import root
from app.web.services import AlertsDep, SettingsDep

router = APIRouter()
NO_ALERT = described({404: "No such alert"})
SHOWN = 20
LABELS = {
    Occasion.FINISHED: "a run has finished",
    Occasion.FAILED: "a run has failed",
    Occasion.STOPPED: "a run was stopped",
    Occasion.PROBLEM: "a problem was found",
    Occasion.THRESHOLD: "a metric passes a threshold",
    Occasion.QUEUE_EMPTY: "the queue is empty",
    Occasion.DISK_LOW: "the disk is almost full",
}


class DeliveryPublic(BaseModel):
    alert: str
    title: str
    time: float
    state: str
    attempts: int
    error: str


@dataclass(frozen=True)
class AlertsPage:
    alerts: list[AlertPublic]
    deliveries: list[DeliveryPublic]
    labels: dict[Occasion, str]
    run: str
    section: str = "system"


@router.post("/api/alerts", status_code=201, tags=["alerts"], responses=described({409: "Too many alerts"}))
def create(body: NewAlert, alerts: AlertsDep, response: Response) -> AlertPublic:
    """Tell a service of runs, the queue or the disk. The target's secrets are never shown again."""
    alert = alerts.add(body)
    response.headers["Location"] = f"/api/alerts/{alert.id}"
    return public_alert(alert)


@router.get("/api/alerts", tags=["alerts"])
def list_alerts(alerts: AlertsDep) -> list[AlertPublic]:
    return [public_alert(alert) for alert in alerts.all()]


@router.get("/api/alerts/deliveries", tags=["alerts"])
def deliveries(settings: SettingsDep) -> list[DeliveryPublic]:
    """The latest messages, the newest first, and what became of them."""
    return _latest(settings)


@router.get("/api/alerts/{alert_id}", tags=["alerts"], responses=NO_ALERT)
def get(alert_id: str, alerts: AlertsDep) -> AlertPublic:
    return public_alert(alerts.get(alert_id))


@router.delete("/api/alerts/{alert_id}", status_code=204, tags=["alerts"], responses=NO_ALERT)
def delete(alert_id: str, alerts: AlertsDep) -> None:
    alerts.delete(alert_id)


@router.post("/api/alerts/{alert_id}/test", status_code=202, tags=["alerts"], responses=NO_ALERT)
def test(alert_id: str, alerts: AlertsDep, settings: SettingsDep) -> DeliveryPublic:
    """Have a worker send a test message; `GET /api/alerts/deliveries` shows what became of it."""
    return _public(_test(alert_id, alerts, settings))


@router.get("/alerts", include_in_schema=False)
def page(request: Request, alerts: AlertsDep, settings: SettingsDep, run: str = "") -> Response:
    shown = AlertsPage([public_alert(alert) for alert in alerts.all()], _latest(settings), LABELS, run[:40])
    return render(request, "alerts/index.html", shown)


@router.post("/alerts", include_in_schema=False)
async def add(request: Request, alerts: AlertsDep) -> Response:
    form = await request.form()
    side = str(form.get("side") or "above")
    series, limit = str(form.get("series") or ""), str(form.get("limit") or "")
    on = [str(name) for name in form.getlist("on")]
    values = {
        "on": on,
        "target": str(form.get("target") or ""),
        "name": str(form.get("name") or ""),
        "run": str(form.get("run") or "") or None,
        "threshold": {"series": series, side: limit} if Occasion.THRESHOLD in on else None,
    }
    alerts.add(checked(NewAlert, values))
    return RedirectResponse(f"{root()}/alerts", 303)


@router.post("/alerts/{alert_id}/delete", include_in_schema=False)
def remove(alert_id: str, alerts: AlertsDep) -> Response:
    alerts.delete(alert_id)
    return RedirectResponse(f"{root()}/alerts", 303)


@router.post("/alerts/{alert_id}/test", include_in_schema=False)
def try_out(alert_id: str, alerts: AlertsDep, settings: SettingsDep) -> Response:
    _test(alert_id, alerts, settings)
    return RedirectResponse(f"{root()}/alerts", 303)


def _test(alert_id: str, alerts: Alerts, settings: Settings) -> Delivery:
    alert = alerts.get(alert_id)
    key = f"{alert.id}:test:{secrets.token_hex(4)}"
    body = "This is a test message: alerts of Trackside arrive here."
    delivery = Delivery(key, alert.id, "Trackside: test", body, time.time())
    Journal(settings.alerts).put([delivery])
    return delivery


def _latest(settings: Settings) -> list[DeliveryPublic]:
    journal = Journal(settings.alerts)
    journal.catch_up()
    found = sorted(journal.deliveries.values(), key=lambda delivery: -delivery.time)[:SHOWN]
    return [_public(delivery) for delivery in found]


def _public(d: Delivery) -> DeliveryPublic:
    return DeliveryPublic(alert=d.alert, title=d.title, time=d.time, state=d.state, attempts=d.attempts, error=d.error)
