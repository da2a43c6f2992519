"""Sentences on standard error: what a user has to know, each once."""

from __future__ import annotations

import os
import sys

_SAID: set[str] = set()


def say(text: str) -> None:
    """Write one line to standard error, unless TRACKSIDE_SILENT is set."""
    if os.environ.get("TRACKSIDE_SILENT", "") not in ("", "0"):
        return
    try:
        sys.stderr.write(f"trackside: {text}\n")
        sys.stderr.flush()
    except (OSError, ValueError, AttributeError):
        return  # closed, or absent as in a process without a console


def say_once(text: str, key: str = "") -> None:
    """As `say`, but only the first time in this process with this `key` (default: the text)."""
    key = key or text
    if key not in _SAID:
        _SAID.add(key)
        say(text)
