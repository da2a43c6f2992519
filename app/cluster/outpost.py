"""The outpost: the one process of the home that trains on nodes, with a worker's loop for each of their devices."""

from __future__ import annotations

import logging
import signal
import socket
import threading
import time
from collections import defaultdict
from types import FrameType
from typing import Any

import ray
from sqlalchemy.exc import OperationalError

from app.cluster.ray_process import NAMESPACE
from app.cluster.ray_seat import RaySeat
from app.cluster.seat_loop import SeatLoop
from app.cluster.seats import NodeDevice, devices_of
from app.cluster.turn import Turn
from app.host.workers import devices_in_use
from app.settings import Settings
from app.storage.db import Database, is_passing
from app.worker.loop import TICK_SECONDS

HEAD_SECONDS = 0.1
NODES_SECONDS = 1.0  # between two looks at which nodes there are

log = logging.getLogger(__name__)


class Outpost:
    def __init__(self, settings: Settings, database: Database) -> None:
        self._settings, self._database = settings, database
        self._loops: dict[str, SeatLoop] = {}
        self._shipping: defaultdict[str, threading.Lock] = defaultdict(threading.Lock)  # by host
        self._turn = Turn(database)
        self._nodes_at = 0.0
        self.ending = False  # a plain attribute: a signal handler must not take a lock

    def install_signals(self) -> None:
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._on_signal)

    def _on_signal(self, _number: int, _frame: FrameType | None) -> None:
        self.ending = True

    def run(self) -> None:
        while not self.ending:
            now = time.monotonic()
            try:
                if now >= self._nodes_at:
                    self._nodes_at = now + NODES_SECONDS
                    self._look_for_devices()
                self._turn.begin([job.job.key or 0 for loop in self._loops.values() for job in loop.held.values()])
                for loop in list(self._loops.values()):
                    loop.tick(now)
            except OperationalError as error:
                if not is_passing(error):
                    raise
                self._wait_for_database()
            time.sleep(TICK_SECONDS)
        for loop in self._loops.values():
            loop.leave()
        self._turn.end()

    def _look_for_devices(self) -> None:
        """A loop for each device that is there, and for each on which a run was training when it was last seen."""
        nodes: list[dict[str, Any]] = ray.nodes()  # type: ignore[no-untyped-call]
        found = {device.name: device for device in devices_of(nodes)}
        for name, device in found.items():
            loop = self._loops.get(name)
            if loop is None or loop.node_id != device.node_id:
                self._open(device)
        in_use = self._devices_in_use()
        for name in in_use - self._loops.keys():
            self._open_absent(name)
        for name in self._loops.keys() - found.keys() - in_use:
            if not self._loops[name].held:
                self._loops.pop(name).leave()

    def _open(self, device: NodeDevice) -> None:
        seat = RaySeat(device) if device.node_id else None
        loop = self._loops.get(device.name)
        if loop is not None:
            log.info("%s is back", device.name)
            loop.seat.connect(device.node_id, seat)
            return
        log.info("%s: a new device", device.name)
        shipping = self._shipping[device.host]
        self._loops[device.name] = SeatLoop(
            self._settings, self._database, device, seat, shipping, self._turn, self._loop
        )

    def _loop(self, name: str) -> SeatLoop:
        """The loop of a device; one that is not there now may come back."""
        if name not in self._loops:
            self._open_absent(name)
        return self._loops[name]

    def _open_absent(self, name: str) -> None:
        host, _, kind = name.rpartition("/")
        self._open(NodeDevice("", host, 0, kind))

    def _devices_in_use(self) -> set[str]:
        with self._database.read() as session:
            return devices_in_use(session)

    def _wait_for_database(self) -> None:
        """Wait until it can be read again, and read what the loops hold: the last write was rolled back."""
        while not self.ending:
            try:
                self._turn.rows.clear()  # what a loop holds is not what is stored
                for loop in self._loops.values():
                    loop.refresh()
                return
            except OperationalError as error:
                if not is_passing(error):
                    raise
                time.sleep(NODES_SECONDS)


def main(settings: Settings, address: str) -> None:
    """Train on the nodes of the cluster at `address` until this process is told to end."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s outpost %(message)s")
    # By the address, because Ray would prefer the head's node to the home's if it sees both on this machine.
    own_address = _wait_for_head(address)
    ray.init(
        address=address, namespace=NAMESPACE, log_to_driver=False, configure_logging=False,
        _node_ip_address=own_address,
    )  # fmt: skip
    database = Database(settings.url)
    outpost = Outpost(settings, database)
    outpost.install_signals()
    outpost.run()
    database.close()
    ray.shutdown()


def _wait_for_head(address: str) -> str:
    """Wait until the head accepts connections, and return this machine's own address towards it.

    Ray itself would try for a minute, and then give up.
    """
    host, _, port = address.rpartition(":")
    while True:
        try:
            with socket.create_connection((host, int(port)), timeout=2.0) as connection:
                own: str = connection.getsockname()[0]
                return own
        except OSError:
            time.sleep(HEAD_SECONDS)
