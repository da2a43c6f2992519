"""torch.compile, with a fallback to eager mode."""

from __future__ import annotations

import logging
from collections.abc import Callable

import torch
from torch import Tensor, nn

from trainer.rundir.events import EventWriter

log = logging.getLogger(__name__)


def compiled(model: nn.Module, events: EventWriter) -> Callable[[Tensor], Tensor]:
    """Return the model's forward pass, compiled at the first call for each input size.

    If compiling fails (generated code that does not build, for example), it continues in eager mode and emits a log
    event.
    """
    optimized = torch.compile(model, dynamic=False)
    failed = False

    def forward(images: Tensor) -> Tensor:
        nonlocal failed
        if not failed:
            try:
                result: Tensor = optimized(images)
                return result
            except torch._dynamo.exc.TorchDynamoException as error:
                failed = True
                events.emit("log", line="torch.compile failed, the run goes on without it; its output says why")
                log.warning("torch.compile failed: %s", error)
        eager: Tensor = model(images)
        return eager

    return forward
