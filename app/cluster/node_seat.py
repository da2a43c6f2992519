"""A seat in a process that Ray starts on the node. Everything is imported from the node's own installation."""

from __future__ import annotations

import logging
import os
from dataclasses import dataclass
from pathlib import Path

from app.cluster.join import DRAINING, NODE_FOLDER
from app.cluster.versions import versions
from app.host.devices import describe_device
from app.host.probes import Reading, probe_of
from trainer.node.calls import Beginning, Greeting, NotBegun
from trainer.node.seat import Seat
from trainer.process.starter import Starter

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class NodeGreeting:
    """`reading` is of the device at this moment; None if it cannot be read."""

    seat: Greeting
    reading: Reading | None
    draining: bool


class NodeSeat(Seat):
    """`device` is the name by which the trainer knows it: the only GPU that Ray lets this process see is cuda:0."""

    def __init__(self, host: str, number: int, device: str) -> None:
        logging.basicConfig(level=logging.INFO, format="%(asctime)s seat %(message)s")
        self._root = Path(os.environ[NODE_FOLDER])
        # Ray's variables are not meant for trainers; OMP_NUM_THREADS would leave them one core.
        environment = {name: value for name, value in os.environ.items() if not name.startswith(("OMP_", "RAY_"))}
        starter = Starter(environment)
        super().__init__(self._root, str(number), device, starter)
        self._host = host
        self._probe = probe_of(device)
        self._description = describe_device(device)
        starter.prepare()

    def begin(self, what: Beginning) -> int | None:
        if self._is_draining():
            raise NotBegun("the node is leaving")
        return super().begin(what)

    def greet(self) -> NodeGreeting:
        try:
            reading = self._probe.read()
        except Exception:  # noqa: BLE001 - a device that answers some question with an error can still train
            reading = None
        greeting = self.hello(self._host, self._description, versions())
        return NodeGreeting(greeting, reading, self._is_draining())

    def _is_draining(self) -> bool:
        return (self._root / DRAINING).exists()
