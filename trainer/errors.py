"""Errors that are shown to users, and their JSON representation. Free of torch.

TrainerError                 code, message, detail
├── DatasetError             trainer/data/errors.py, with its own tree
├── ProcessDied              trainer/system/parallel.py: a helper process was killed
├── SpecError                trainer/spec/preset.py: fields of a spec that are wrong
├── CheckFailed              trainer/diagnosis/checks.py: a pre-training check failed and the spec says to stop
├── TrainingDiverged         trainer/points.py: the training loss is not finite
├── CheckpointDamaged        trainer/rundir/checkpoints.py: a file does not have its recorded hash, or cannot be read
├── NoCheckpoint             trainer/inference/classifier.py: nothing to predict with
├── OutputNotFinite          trainer/inference/classifier.py: the model's outputs are not finite
├── PortableDamaged          trainer/exported/portable.py: an exported model cannot be read
└── ExportFailed             trainer/inference/onnx_export.py: the network cannot be written as ONNX
"""

from __future__ import annotations

import errno
import traceback
from typing import Any

# Parts of the messages of RuntimeErrors, torch.AcceleratorError included, that are raised for lack of memory.
OUT_OF_MEMORY = (
    "can't allocate memory",  # torch's CPU allocator
    "out of memory",  # the CUDA, HIP and MPS allocators, and the CUDA runtime
    "CUBLAS_STATUS_ALLOC_FAILED",  # no memory for the handle or the workspace of cuBLAS
    "CUDNN_STATUS_ALLOC_FAILED",
    "CUSOLVER_STATUS_ALLOC_FAILED",
    "unable to find an engine to execute this computation",  # cuDNN: no memory for the workspace of any algorithm
    "NVML_SUCCESS == ",  # torch 2.11 asks NVML who holds the memory, and NVML does not answer
)
LOST = ("CUDA error:", "cuDNN error:")  # parts of the messages of errors after which a process cannot use the GPU
NO_MEMORY = "The device ran out of memory: raise gradient_accumulation, lower batch_size, or choose a smaller model."
DISK_FULL_CODE = "disk_full"
DISK_FULL = "The disk is full: the last good checkpoint is kept. Make room, then resume."


class TrainerError(Exception):
    """An error whose message is written for the person who started the run or the task."""

    code = "trainer_error"

    def __init__(self, message: str, detail: Any = None) -> None:
        super().__init__(message)
        self.message = message
        self.detail = detail

    def as_dict(self) -> dict[str, Any]:
        """`{"code", "message", "detail"}`, the body of every error of the API."""
        return {"code": self.code, "message": self.message, "detail": self.detail}


def explain(error: Exception) -> dict[str, Any]:
    """Return an exception as `{"code", "message", "detail"}`; an unexpected one with the end of its traceback."""
    if isinstance(error, TrainerError):
        return error.as_dict()
    if is_out_of_memory(error):
        return {"code": "out_of_memory", "message": NO_MEMORY, "detail": str(error)[:500]}
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return {"code": DISK_FULL_CODE, "message": DISK_FULL, "detail": None}
    return {
        "code": "trainer_error",
        "message": f"{error}" or type(error).__name__,
        "detail": "".join(traceback.format_exception(error)[-6:])[-4000:],
    }


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether memory, of the machine or of a device, was not enough for an operation."""
    # torch.OutOfMemoryError by its name: this module must not import torch.
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return True
    return isinstance(error, RuntimeError) and any(part in str(error) for part in OUT_OF_MEMORY)


def has_lost_device(error: BaseException) -> bool:
    """Return whether the GPU has failed for this process: every later operation on it raises the same error."""
    failed = isinstance(error, RuntimeError) and any(part in str(error) for part in LOST)
    return failed and not is_out_of_memory(error)
