"""How a run ends upon an error, of its trainer or of another rank."""

from __future__ import annotations

from typing import Any

from trainer.errors import explain
from trainer.process.assignment import Assignment
from trainer.rundir.events import EventWriter

COMPILE_FAILED = "compile_failed"  # the code of another rank's error


def ended_by(error: Exception, assignment: Assignment, events: EventWriter) -> tuple[dict[str, Any], int]:
    """Return the fields of the end event and the exit status.

    Where a run on several devices fails to be compiled, its next attempt goes on in eager mode.
    """
    if assignment.others and failed_to_compile(error):
        from trainer.engine.compiling import give_up_compiling  # imports torch

        give_up_compiling(assignment.folder)
        events.emit("log", line=f"{error}; the run goes back to its last checkpoint and is not compiled")
        return {"reason": "interrupted", "step": None, "summary": {}, "error": None}, 2
    step = getattr(error, "step", None)
    return {"reason": "failed", "step": step, "summary": {}, "error": explain(error)}, 1


def failed_to_compile(error: BaseException) -> bool:
    """Whether an error of this or another rank is torch.compile's: the same step may work in eager mode."""
    from trainer.engine.compiling import CompiledPassFailed  # imports torch

    return isinstance(error, CompiledPassFailed) or getattr(error, "code", None) == COMPILE_FAILED
