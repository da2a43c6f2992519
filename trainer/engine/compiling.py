"""torch.compile, and what a run does where it does not work: it goes on in eager mode from its last checkpoint."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import torch
from torch import Tensor, nn

from trainer.engine.ranks import RankLost
from trainer.plan.decisions import Decisions
from trainer.rundir.checkpoints import last_checkpoint

Handler = Callable[[int, FrameType | None], Any]

FIRST_STEPS = 20  # compiled ones, after which a loss that is not finite is no longer taken for the compiler's fault


class CompiledPassFailed(Exception):
    """The compiled pass cannot be built, or its loss is not finite. The message is a line of the run's log."""


class StoppedWhileCompiling(BaseException):
    """A signal asked for the end of the run. It passes every `except Exception` in torch.compile."""


class Passes:
    """The forward pass of a run's steps, and for which of them it has been compiled.

    torch.compile builds code at the first call for each input size, once for frozen weights and once for all: the code
    of the forward pass in the call, that of the backward pass only when the gradients are computed.
    """

    def __init__(self, model: nn.Module) -> None:
        self._eager = model
        self._compiled: Callable[[Tensor], Tensor] | None = None  # kept while steps are eager again
        self.are_compiled = False
        self._built: set[tuple[int, bool]] = set()
        self._began = 0

    def switch(self, *, compiled: bool) -> None:
        if compiled and self._compiled is None:
            self._compiled = torch.compile(self._eager, dynamic=False)
        self.are_compiled = compiled

    def __call__(self, images: Tensor) -> Tensor:
        logits: Tensor = (self._eager if self._compiled is None or not self.are_compiled else self._compiled)(images)
        return logits

    def builds(self, size: int, *, frozen: bool) -> bool:
        """Return whether a step on images of `size` × `size` pixels has to be compiled first."""
        return self.are_compiled and (size, frozen) not in self._built

    @contextmanager
    def building(self, step: int, size: int, *, frozen: bool) -> Iterator[None]:
        """Run the first forward and backward pass of a kind in this context, after a checkpoint of `step` was saved.

        Raises CompiledPassFailed on any error, since the same step may work in eager mode, and StoppedWhileCompiling.
        """
        try:
            with heard_at_once():
                yield
        except RankLost:
            raise  # it is not the compiler's fault, or that of another rank's, which tells so itself
        except Exception as error:
            reason = f"{type(error).__name__}: {error}".splitlines()[0][:300]
            raise CompiledPassFailed(
                f"torch.compile failed at step {step:,} ({reason}); its output says why"
            ) from error
        self._built.add((size, frozen))
        self._began = step

    def check(self, step: int, finite_at: int) -> None:
        """Raise CompiledPassFailed if a loss at `step` that is not finite may be the compiler's fault.

        `finite_at` is the last step at which the loss was seen to be finite.
        """
        if self._compiled is not None and finite_at - self._began < FIRST_STEPS:
            raise CompiledPassFailed(f"the loss is not finite at step {step:,}, soon after the run was compiled")


def give_up_compiling(run_dir: Path) -> None:
    """Record that the run is not compiled, from the step on at which it was, or from its last checkpoint if later."""
    decisions = Decisions(run_dir)
    switch, saved = decisions.first("compile"), last_checkpoint(run_dir)
    steps = [0 if switch is None else switch.step, 0 if saved is None else saved.step]
    decisions.insert(max(steps), "compile", on=False)


@contextmanager
def heard_at_once() -> Iterator[None]:
    """Raise StoppedWhileCompiling on SIGTERM and SIGINT, once the handlers that were installed before have run."""
    replaced: dict[int, Handler] = {}

    def stop(number: int, frame: FrameType | None) -> None:
        replaced[number](number, frame)
        raise StoppedWhileCompiling

    in_main_thread = threading.current_thread() is threading.main_thread()  # only there may handlers be set
    for number in (signal.SIGTERM, signal.SIGINT) if in_main_thread else ():
        before = signal.getsignal(number)
        if callable(before) and before is not signal.default_int_handler:  # a handler that only sets a flag
            replaced[number] = before
            signal.signal(number, stop)
    try:
        yield
    finally:
        for replaced_number, handler in replaced.items():
            signal.signal(replaced_number, handler)
