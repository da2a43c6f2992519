"""Exclusive locks on open descriptors, for files and for folders. Free of torch.

filelock's FileLock does not fit here: it opens a path by itself, so it can lock no folder, and it leaves no room for
what the holder writes into the file (its pid, or a download). Its lock_descriptor is the call below, but it waits by
polling, and importing filelock registers hooks for os.fork in the process that forks the trainers.
"""

from __future__ import annotations

import fcntl


def lock_descriptor(fd: int, *, wait: bool) -> bool:
    """Hold the lock until `fd` and all copies of it are closed. False where another holds it and `wait` is not set."""
    try:
        fcntl.flock(fd, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
