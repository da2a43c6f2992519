"""How a script ends: its exception and its exit code, for the run that it has not finished itself."""

from __future__ import annotations

import atexit
import sys
from types import TracebackType
from typing import Any, NoReturn

from trackside.outcome import error_of, exit_code_of
from trackside.script_run import Run

_hooked = False
_exit_code: int | None = None
_error: BaseException | None = None
_run: Run | None = None


def finish_with_script(run: Run) -> None:
    """Finish `run` when the script exits, with what it exits by."""
    global _hooked, _run
    _run = run
    if _hooked:
        return
    _hooked = True
    atexit.register(_at_exit)
    former_hook, former_exit = sys.excepthook, sys.exit

    def excepthook(kind: type[BaseException], value: BaseException, trace: TracebackType | None) -> None:
        global _error
        _error = value
        former_hook(kind, value, trace)

    def leave(code: Any = None) -> NoReturn:
        global _exit_code
        _exit_code = code if isinstance(code, int) else 0 if code is None else 1
        former_exit(code)

    sys.excepthook = excepthook
    sys.exit = leave


def _at_exit() -> None:
    if _run is None:
        return
    code = _exit_code or 0
    if _error is not None:
        code = exit_code_of(_error)
        _run.stopping = _run.stopping or isinstance(_error, KeyboardInterrupt)
        _run.error = error_of(_error)
    _run.finish(code)
