"""Names of this host and of its workers, and whether a worker is alive."""

from __future__ import annotations

import socket

import psutil


def host_name() -> str:
    return socket.gethostname()


def worker_id(device: str, pid: int | None = None) -> str:
    """Names a process, this one by default, for as long as it lives: pids come back, start times do not."""
    process = psutil.Process(pid)
    return f"{device}/{process.pid}/{_started(process)}"


def _started(process: psutil.Process) -> str:
    """Seconds from the machine's start to the process's: the same whenever the clock is set meanwhile."""
    return f"{process.create_time() - psutil.boot_time():.2f}"


def is_alive(worker: str) -> bool:
    """Whether the worker of that id still runs on this host."""
    _, pid, started = worker.rsplit("/", 2)
    try:
        process = psutil.Process(int(pid))
        return _started(process) == started and process.status() != psutil.STATUS_ZOMBIE
    except (psutil.NoSuchProcess, ValueError):
        return False
