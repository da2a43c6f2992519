"""Describes the environment of a script once, then measures it every few seconds, as events of its session."""

from __future__ import annotations

import threading
import time

from trackside.events import EventFile
from trackside.sender.delivery import Delivery
from trackside.sender.environment import describe
from trackside.sender.gpus import Gpus
from trackside.sender.processes import ProcessTree
from trackside.sender.reporter import Reporter
from trackside.spool import Facts, SpooledSession

SAMPLE_SECONDS = 10.0


class Observer(threading.Thread):
    """Values are written at the last step that the script has logged; at its seconds if it logs none."""

    def __init__(self, session: SpooledSession, facts: Facts, delivery: Delivery, reporter: Reporter) -> None:
        super().__init__(name="observer", daemon=True)
        self._session = session
        self._facts = facts
        self._delivery = delivery
        self._reporter = reporter

    def run(self) -> None:
        environment = describe(self._facts.system)
        self._write("environment", v=environment)
        self._reporter.tell(described=True)
        gpus = Gpus(self._facts.system.get("gpus"))
        tree = ProcessTree(int(self._facts.system.get("pid", 0)))
        began, written = time.monotonic(), -1
        while True:
            time.sleep(SAMPLE_SECONDS)
            values: dict[str, float] = {**tree.sample(), **gpus.sample()}
            last = self._delivery.last_step
            step = last if last >= 0 else int(time.monotonic() - began)
            if step > written and values:
                if not self._write("metrics", step=step, v={f"system/{name}": value for name, value in values.items()}):
                    return
                written = step

    def _write(self, kind: str, **fields: object) -> bool:
        """Return whether the session still goes on."""
        try:
            if not self._session.is_written() or self._delivery.ended:
                return False
        except FileNotFoundError:
            return False
        events = EventFile(self._session.events)
        try:
            return events.emit(kind, **fields)
        finally:
            events.close()
