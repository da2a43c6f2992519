"""The worker's loop: claim jobs for one device, renew their leases, follow them, and record a heartbeat."""

from __future__ import annotations

import logging
import os
import signal
import time
from types import FrameType

from sqlalchemy.exc import OperationalError

from app.alerts.sender import AlertSender
from app.host import workers
from app.host.devices import describe_device
from app.host.gpu_test import DeviceTest
from app.host.identity import host_name, worker_id
from app.host.probes import Probe, probe_of
from app.host.telemetry import Recorder
from app.jobs.claims import adopt_next, claim_next, has_work
from app.jobs.kinds import KINDS, RUN, Kind
from app.search.advance import Controller
from app.settings import Settings
from app.storage import changes
from app.storage.db import ChangeHint, Database, Hint, is_passing
from app.storage.tables import Worker, now
from app.storage.transitions import LostClaim
from app.worker.executor import Executor, LocalExecutor
from app.worker.followed import FollowedRuns
from app.worker.job import HeldJob

log = logging.getLogger(__name__)

TICK_SECONDS = 0.02
POLL_SECONDS = 1.0


class WorkerLoop:
    """`tick` does everything once; `run` repeats it until `ending` is set. Signal handlers only set flags."""

    BEAT_SECONDS = 2.0

    def __init__(
        self,
        settings: Settings,
        database: Database,
        device: str,
        executor: Executor,
        device_test: DeviceTest | None = None,
        *,
        host: str | None = None,
        probe: Probe | None = None,
        hint: Hint | None = None,
    ) -> None:
        """`host` is the node that the device is on; None: it is on this machine."""
        self.settings = settings
        self.database = database
        self.device = device
        self.executor = executor
        self.id = worker_id(device)
        self.ending = False  # not a threading.Event: a handler that ran while its lock is held would deadlock
        self.host = host or host_name()
        self.kinds = KINDS if host is None else (RUN,)
        self.held: dict[Kind, HeldJob] = {}  # at most one run and one task
        # What the workers of this machine do besides: a node's device only trains.
        self._followed = FollowedRuns(settings, database, self.id) if host is None else None
        self._searches = Controller(database, settings) if host is None else None
        self._hint: Hint = hint or ChangeHint(database)
        self._device_test = device_test or DeviceTest(device)
        self._recorder = Recorder(self.host, device, probe or probe_of(device))
        self._beat_at = 0.0
        self._poll_at = 0.0
        self._started_at = now()
        self._description = describe_device(device)

    def install_signals(self) -> None:
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._on_signal)
        signal.signal(signal.SIGHUP, signal.SIG_IGN)

    def _on_signal(self, _number: int, _frame: FrameType | None) -> None:
        self.ending = True

    def run(self) -> None:
        self.executor.prepare()
        while not self.ending:
            try:
                self.tick(time.monotonic())
            except OperationalError as error:
                if not is_passing(error):
                    raise
                self._wait_for_database(error)
            time.sleep(TICK_SECONDS)
        self.end()

    def _wait_for_database(self, error: OperationalError) -> None:
        """Wait until it can be read again, and read what this worker holds: its last write was rolled back."""
        log.warning("the database cannot be written: trying again (%s)", error.orig)
        while not self.ending:
            try:
                self.refresh()
                if self._followed is not None:
                    self._followed.refresh()
                return
            except OperationalError as again:
                if not is_passing(again):
                    raise
                time.sleep(POLL_SECONDS)

    def tick(self, now_: float) -> None:
        changed = self._hint.changed()
        self._beat_if_due(now_)
        if changed or now_ >= self._poll_at:
            self._poll_at = now_ + POLL_SECONDS
            if self._searches is not None:
                self._searches.advance()
            if self._device_test.passed or self._tested(now_):
                self.find_work(now_)
            self.refresh()
        self._follow_all(now_)
        if self._followed is not None:
            self._followed.tick(now_, changed=changed)

    def _tested(self, now_: float) -> bool:
        """Test the device. A worker whose device fails the test claims nothing, and its row says why."""
        problem = self._device_test.problem
        passed = self._device_test.look(now_)
        if self._device_test.problem not in (None, problem):
            log.warning("%s is not used: %s", self.device, self._device_test.problem)
        gpu = self._device_test.gpu
        if passed and gpu is not None:
            self._description = gpu.name
            if gpu.uuid and self.device.partition(":")[2].isdecimal():
                # NVML counts GPUs by PCI bus, CUDA perhaps by speed: a UUID means the same GPU to both.
                self._recorder.probe = probe_of(f"cuda:GPU-{gpu.uuid}")
        return passed

    @property
    def is_ready(self) -> bool:
        """Whether runs may be started on the device."""
        return self._device_test.passed

    def end(self) -> None:
        """Ask the trainers to save and exit, return their runs to the queue, and delete this worker's row."""
        if self._followed is not None:
            self._followed.close()
        deadline = time.monotonic() + self.settings.stop_seconds
        for held in self.held.values():
            held.interrupt()
        while self.held and time.monotonic() < deadline:
            self._beat_if_due(time.monotonic())
            self._follow_all(time.monotonic())
            time.sleep(TICK_SECONDS)
        with self.database.write(durable=False) as session:
            row = session.get(Worker, self.id)
            if row is not None:
                session.delete(row)
        self._device_test.close()
        self.executor.close()
        self._hint.close()

    def find_work(self, now_: float, *, claims: bool = True) -> None:
        """Adopt, or claim where it `claims`, one job of each kind of which this worker holds none."""
        for kind in self.kinds:
            if kind in self.held:
                continue
            with self.database.read() as session:
                if not has_work(session, kind):
                    continue
            with self.database.write() as session:
                root, seconds = kind.root(self.settings), self.settings.lease_seconds
                adopted = adopt_next(session, kind, root, self.id, self.device, seconds)
                job = adopted
                if job is None and claims:
                    job = claim_next(session, kind, self.id, self.device, seconds)
            if job is None:
                continue
            held = HeldJob(kind, job, self.database, self.settings, self.executor)
            self.held[kind] = held
            with held.guarded():
                if adopted is None:
                    held.start(self.device)
                else:
                    held.adopt()
                    log.info("adopted %s", job.id)
            if held.failed:
                self._let_go(kind)

    def beat(self) -> None:
        """Renew the leases; write this worker's row and a telemetry sample of its device."""
        for kind, held in list(self.held.items()):
            try:
                with held.guarded():
                    held.renew()
            except LostClaim:
                log.info("%s was taken over by another worker", held.job.id)
                self._let_go(kind)
            if held.failed:
                self._let_go(kind)
        if self._followed is not None:
            self._followed.renew()
        with self.database.write(durable=False) as session:
            row = session.get(Worker, self.id)
            if row is None:
                row = Worker(
                    id=self.id, host=self.host, pid=os.getpid(), device=self.device, started_at=self._started_at
                )
            problem = self._device_test.problem
            row.description = self._description if problem is None else f"not used: {problem}"
            row.seen_at = now()
            row.ready = self.is_ready
            row.run = self.held[RUN].job.id if RUN in self.held else None
            session.add(row)
            self._recorder.record(session, time.time())
            changes.prune(session)
            workers.prune(session)

    def refresh(self) -> None:
        """Read the rows of all held jobs again; drop those that another worker has claimed."""
        for kind, held in list(self.held.items()):
            if not held.refresh():
                self._let_go(kind)

    def _beat_if_due(self, now_: float) -> None:
        if now_ >= self._beat_at:
            self._beat_at = now_ + min(self.BEAT_SECONDS, self.settings.lease_seconds / 4)
            self.beat()

    def _follow_all(self, now_: float) -> None:
        for kind, held in list(self.held.items()):
            if held.follow(now_):
                self._let_go(kind)

    def _let_go(self, kind: Kind) -> None:
        held = self.held.pop(kind, None)
        if held is not None:
            held.release()
        self._poll_at = 0.0


def main(device: str, settings: Settings) -> None:
    logging.basicConfig(level=logging.INFO, format="%(asctime)s worker %(message)s")
    database = Database(settings.url)
    loop = WorkerLoop(settings, database, device, LocalExecutor())
    loop.install_signals()
    alerts = AlertSender(settings)
    alerts.start()
    loop.run()
    alerts.close()
    database.close()
