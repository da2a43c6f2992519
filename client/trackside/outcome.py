"""An exception as the end of a run."""

from __future__ import annotations

import traceback
from typing import Any

DETAIL = 20_000  # characters of a traceback


def error_of(value: BaseException) -> dict[str, Any]:
    """An exception as the `error` of an `end` event."""
    detail = "".join(traceback.format_exception(type(value), value, value.__traceback__))
    return {
        "code": type(value).__name__,
        "message": str(value)[:2000] or type(value).__name__,
        "detail": detail[-DETAIL:],
    }


def exit_code_of(value: BaseException) -> int:
    if isinstance(value, SystemExit):
        return value.code if isinstance(value.code, int) else 0 if value.code is None else 1
    return 130 if isinstance(value, KeyboardInterrupt) else 1
