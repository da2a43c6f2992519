"""The limit on open files of this process."""

from __future__ import annotations

import resource
import sys


def raise_open_files_limit() -> int:
    """Raise the soft limit to the hard limit, as each connection is an open file. Return the limit."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    except (OSError, ValueError):  # macOS has another, lower limit
        hard = soft
    return sys.maxsize if hard == resource.RLIM_INFINITY else hard
