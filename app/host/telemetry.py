"""Device utilization, sampled by the device's worker. Samples are kept for an hour, minute means for a week."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import delete
from sqlmodel import Session, col

from app.host.probes import Probe, Reading
from app.host.samples import HOUR, MINUTE, WEEK
from app.storage import changes
from app.storage.tables import DeviceSample

log = logging.getLogger(__name__)


@dataclass
class Recorder:
    """Writes the samples of one device and their means per minute."""

    host: str
    device: str
    probe: Probe
    _minute: int = -1
    _readings: tuple[Reading, ...] = ()
    _warned: bool = False

    def record(self, session: Session, now: float) -> None:
        """Take a sample and store it under the time `now` (UNIX seconds); add the mean when a minute ends."""
        try:
            reading = self.probe.read()
        except Exception:  # a device that answers some question with an error is still to be trained on
            if not self._warned:
                log.warning("%s cannot be sampled", self.device, exc_info=True)
                self._warned = True
            return
        if reading is None:
            return
        self._write(session, 0, now, reading)
        minute = int(now // MINUTE)
        if minute != self._minute and self._readings:
            self._write(session, MINUTE, self._minute * float(MINUTE), mean(self._readings))
            self._readings = ()
            self._prune(session, now)
        self._minute = minute
        self._readings += (reading,)
        payload = {"host": self.host, "device": self.device, "time": now, **reading.model_dump()}
        changes.publish(session, "", "device", payload)

    def _write(self, session: Session, seconds: int, at: float, reading: Reading) -> None:
        session.merge(
            DeviceSample(host=self.host, device=self.device, seconds=seconds, time=at, **reading.model_dump())
        )

    def _prune(self, session: Session, now: float) -> None:
        """Delete the old samples of all devices: nobody else does so for a device that is gone."""
        for seconds, kept in ((0, HOUR), (MINUTE, WEEK)):
            old = (col(DeviceSample.seconds) == seconds) & (col(DeviceSample.time) < now - kept)
            session.exec(delete(DeviceSample).where(old))


def mean(readings: Sequence[Reading]) -> Reading:
    temperatures = [reading.temperature for reading in readings if reading.temperature is not None]
    return Reading(
        utilisation=sum(reading.utilisation for reading in readings) / len(readings),
        memory=round(sum(reading.memory for reading in readings) / len(readings)),
        memory_total=readings[-1].memory_total,
        temperature=sum(temperatures) / len(temperatures) if temperatures else None,
    )
