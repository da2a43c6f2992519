"""Read the stored samples of a device."""

from __future__ import annotations

import time

from pydantic import BaseModel
from sqlmodel import Session, col, select

from app.storage.tables import DeviceSample


class SampleSeries(BaseModel):
    """The samples of one device: seconds since the epoch, shares of 1, bytes, °C."""

    host: str
    device: str
    time: list[float]
    utilisation: list[float]
    memory: list[int]
    temperature: list[float | None]
    memory_total: int


def series_of(session: Session, host: str, device: str, seconds: float) -> SampleSeries:
    rows = samples(session, host, device, seconds, time.time())
    return SampleSeries(
        host=host,
        device=device,
        time=[round(row.time, 2) for row in rows],
        utilisation=[round(row.utilisation, 4) for row in rows],
        memory=[row.memory for row in rows],
        temperature=[row.temperature for row in rows],
        memory_total=rows[-1].memory_total if rows else 0,
    )


MINUTE = 60
HOUR = 3600.0
WEEK = 7 * 24 * HOUR


def samples(session: Session, host: str, device: str, seconds: float, now: float) -> list[DeviceSample]:
    """Return the samples of the `seconds` before `now` in order: single ones for up to an hour, else minute means."""
    statement = (
        select(DeviceSample)
        .where(DeviceSample.host == host, DeviceSample.device == device)
        .where(DeviceSample.seconds == (0 if seconds <= HOUR else MINUTE))
        .where(col(DeviceSample.time) > now - seconds)
        .order_by(col(DeviceSample.time))
    )
    return list(session.exec(statement).all())
