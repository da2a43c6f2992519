"""How the network is executed at present: number format, memory layout and threads, which may change during a run."""

from __future__ import annotations

import torch
from torch import Tensor

from trainer.engine.trainee import Trainee
from trainer.plan.execution import Execution, Precision

DTYPES: dict[Precision, torch.dtype] = {"float32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


class Runtime:
    """`autocast` wraps every forward pass."""

    def __init__(self, device: torch.device, execution: Execution) -> None:
        self._device = device
        self.execution = execution

    @property
    def autocast(self) -> torch.autocast:
        return autocast_of(self.execution, self._device)

    def laid_out(self, images: Tensor) -> Tensor:
        """Return float B×3×H×W in the layout of the weights; cached features (B×F) unchanged."""
        return images.contiguous(memory_format=layout_of(self.execution)) if images.ndim == 4 else images

    def change(self, execution: Execution, trainee: Trainee) -> None:
        if execution.threads:
            torch.set_num_threads(execution.threads)
        if execution.channels_last != self.execution.channels_last:
            trainee.lay_out(layout_of(execution))
        self.execution = execution


def autocast_of(execution: Execution, device: torch.device) -> torch.autocast:
    dtype = DTYPES[execution.precision]
    return torch.autocast(device.type, dtype, enabled=dtype != torch.float32)


def precision_name(dtype: torch.dtype) -> Precision:
    return next(name for name, known in DTYPES.items() if known == dtype)


def layout_of(execution: Execution) -> torch.memory_format:
    return torch.channels_last if execution.channels_last else torch.contiguous_format
