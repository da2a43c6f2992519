"""Ending with the parent process: `serve` may be killed before it can stop its children."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import threading
import time

PARENT = "TRACKSIDE_PARENT_PID"  # set by `serve` for its children
_PR_SET_PDEATHSIG = 1
POLL_SECONDS = 1.0


def end_with_parent() -> None:
    """Have this process sent SIGTERM when the `serve` that started it is gone; nothing where none did.

    On Linux the kernel sends it. Its request ends with the parent's thread, which is `serve`'s only one, and is not
    passed on to children: trainers outlive their worker.
    """
    parent = os.environ.get(PARENT, "")
    if not parent.isdecimal():
        return
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, int(signal.SIGTERM))
        if os.getppid() != int(parent):  # it was gone before the request
            os.kill(os.getpid(), signal.SIGTERM)
    else:
        threading.Thread(target=_poll, args=(int(parent),), daemon=True).start()


def _poll(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(POLL_SECONDS)
    os.kill(os.getpid(), signal.SIGTERM)
