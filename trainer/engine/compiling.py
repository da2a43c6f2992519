"""torch.compile, and the way back to eager where it fails."""

from __future__ import annotations

import logging
from collections.abc import Callable

import torch
from torch import Tensor, nn

from trainer.rundir.events import EventWriter

log = logging.getLogger(__name__)


def compiled(model: nn.Module, events: EventWriter) -> Callable[[Tensor], Tensor]:
    """The model's forward pass, compiled at the first call for each size of its input.

    Where compiling fails (a generated file that does not build), the eager pass goes on in its place and says so.
    """
    fast = torch.compile(model, dynamic=False)
    broken = False

    def forward(images: Tensor) -> Tensor:
        nonlocal broken
        if not broken:
            try:
                result: Tensor = fast(images)
                return result
            except torch._dynamo.exc.TorchDynamoException as error:
                broken = True
                events.emit("log", line="torch.compile failed, the run goes on without it; its output says why")
                log.warning("torch.compile failed: %s", error)
        eager: Tensor = model(images)
        return eager

    return forward
