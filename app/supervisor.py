"""`trackside serve`: migrate once, then start and supervise the web process, the workers and the predictor."""

from __future__ import annotations

import errno
import itertools
import logging
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from types import FrameType

from app.errors import CommandError
from app.host.child import Child
from app.host.home_lock import home_lock
from app.host.parent import PARENT
from app.jobs.remains import sweep
from app.settings import Settings
from app.storage.db import Database
from app.storage.ownership import take_ownership

log = logging.getLogger(__name__)

STOP_SECONDS = 45.0
RESTART_SECONDS = (0.2, 0.5, 1.0, 2.0, 5.0, 10.0)
STEADY_SECONDS = 30.0


class CannotListen(CommandError):
    """The server cannot listen on the address: unknown, not of this machine, not permitted, or in use."""


@dataclass
class Supervisor:
    settings: Settings
    children: list[Child]
    ending: bool = False  # a plain attribute: a signal handler must not take a lock

    def run(self) -> None:
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._on_signal)
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        while not self.ending:
            self.tick(time.monotonic())
            time.sleep(0.1)
        self.end()

    def _on_signal(self, _number: int, _frame: FrameType | None) -> None:
        self.ending = True

    def tick(self, now: float) -> None:
        """Start the children that are not running. A child's delay grows each time it exits within STEADY_SECONDS."""
        for child in self.children:
            if child.process is not None and child.process.poll() is not None:
                steady = now - child.started_at > STEADY_SECONDS
                child.failures = 0 if steady else child.failures + 1
                delay = RESTART_SECONDS[min(child.failures, len(RESTART_SECONDS) - 1)]
                log.warning("%s ended with %s: again in %.1f s", child.name, child.process.returncode, delay)
                child.process, child.restart_at = None, now + delay
                for other in self.children:
                    if other.ends_with == child.name:
                        other.signal(signal.SIGTERM)
            if child.process is None and now >= child.restart_at:
                child.started_at = now
                child.process = self._start(child)

    def _start(self, child: Child) -> subprocess.Popen[bytes]:
        # A new session: Ctrl-C must reach only this process, which stops the children in order.
        environment = {**os.environ, **environment_of(self.settings), PARENT: str(os.getpid()), **child.environment}
        if child.output is None:
            return subprocess.Popen(child.command, env=environment, start_new_session=True)
        with child.output.open("ab") as output:
            return subprocess.Popen(
                child.command, env=environment, start_new_session=True, stdout=output, stderr=subprocess.STDOUT
            )

    def end(self) -> None:
        """Stop the web process first, then all workers together, whose trainers save, then the predictor."""
        for _, group in itertools.groupby(self.children, key=lambda child: child.name.split()[0]):
            living = [child for child in group if child.process is not None and child.process.poll() is None]
            for child in living:
                child.signal(signal.SIGTERM)
            deadline = time.monotonic() + STOP_SECONDS
            for child in living:
                child.wait_or_kill(deadline)


def environment_of(settings: Settings) -> dict[str, str]:
    values = {
        "TRACKSIDE_HOME": str(settings.home.resolve()),
        "TRACKSIDE_EXPECT_WORKERS": str(settings.expect_workers),
        "TRACKSIDE_INSECURE": str(settings.insecure),
        "TRACKSIDE_ROOT_PATH": settings.root_path,
    }
    if settings.database_url:
        values["TRACKSIDE_DATABASE_URL"] = settings.database_url
    return values


def serve(settings: Settings, devices: list[str], cluster: Sequence[Child] = ()) -> None:
    """Serve until SIGTERM or SIGINT. `cluster` are the processes that train on other machines.

    Raises HomeInUse, SchemaTooNew.
    """
    with home_lock(settings.home):
        with closing(Database(settings.url)) as database:
            database.migrate()
            take_ownership(database, settings.home)
            sweep(settings, database)
        Supervisor(settings, [*children_of(settings, devices), *cluster]).run()


def children_of(settings: Settings, devices: list[str]) -> list[Child]:
    web = [sys.executable, "-m", "app.cli", "web", "--host", settings.host, "--port", str(settings.port)]
    workers = [
        Child(f"worker {device}", [sys.executable, "-m", "app.cli", "worker", "--device", device]) for device in devices
    ]
    return [Child("web", web), *workers, Child("predictor", [sys.executable, "-m", "app.predictor"])]


def check_address(host: str, port: int) -> None:
    """Raises CannotListen: the web process could not listen on this address."""
    try:
        addresses = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except (socket.gaierror, UnicodeError):
        raise CannotListen(
            f"The host name {host} is unknown. Use an address of this machine: --host 127.0.0.1, or 0.0.0.0 for all."
        ) from None
    for family, kind, protocol, _, address in addresses:
        with socket.socket(family, kind, protocol) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(address)
            except OSError as error:
                raise CannotListen(explain(error, host, port)) from None


def explain(error: OSError, host: str, port: int) -> str:
    match error.errno:
        case errno.EADDRINUSE:
            return f"Port {port} on {host} is taken. Try another: trackside serve --port {free_port(host)}"
        case errno.EADDRNOTAVAIL:
            return f"{host} is not an address of this machine. Use --host 127.0.0.1, or 0.0.0.0 for all its addresses."
        case errno.EACCES:
            return f"This user may not listen on port {port}. Use one from 1024 on, as in --port 8000."
        case _:
            return f"The server cannot listen on port {port} of {host}: {error.strerror}."


def free_port(host: str) -> int:
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        probe.bind((host, 0))
        port: int = probe.getsockname()[1]
        return port
