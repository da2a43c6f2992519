"""The name of this host, the ids of its workers, and whether a worker is alive."""

from __future__ import annotations

import socket

import psutil


def host_name() -> str:
    return socket.gethostname()


def worker_id(device: str, pid: int | None = None) -> str:
    """Return a unique id of a process, by default this one. It includes the start time, because pids are reused."""
    process = psutil.Process(pid)
    return f"{device}/{process.pid}/{_started(process)}"


def _started(process: psutil.Process) -> str:
    """Return the seconds from boot to the start of the process, which do not change when the clock is set."""
    return f"{process.create_time() - psutil.boot_time():.2f}"


def is_alive(worker: str) -> bool:
    """Return whether the worker with that id is still running on this host."""
    _, pid, started = worker.rsplit("/", 2)
    try:
        process = psutil.Process(int(pid))
        return _started(process) == started and process.status() != psutil.STATUS_ZOMBIE
    except (psutil.NoSuchProcess, ValueError):
        return False
