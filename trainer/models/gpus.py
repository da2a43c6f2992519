"""`python -m trainer.models.gpus`: list the GPUs that PyTorch sees, try each, and print a GpuReport as JSON.

It runs in a process of its own: a fork server must not initialize CUDA, and a GPU that fails may end the process.
"""

from __future__ import annotations

import sys
import warnings

import torch

from trainer.errors import is_out_of_memory
from trainer.system.gpus import Gpu, GpuReport, is_supported, unsupported_gpu, unusable_cuda

SIDE = 64


def report() -> GpuReport:
    """Initialize CUDA in this process and return what there is."""
    warnings.simplefilter("ignore")  # PyTorch warns of what is reported here
    try:
        torch.cuda.init()  # type: ignore[no-untyped-call]
    except (AssertionError, RuntimeError) as error:  # an AssertionError if it was built without CUDA
        return GpuReport(problem=unusable_cuda(str(error), torch.__version__, torch.version.cuda))
    return GpuReport(gpus=[_gpu(index) for index in range(torch.cuda.device_count())])


def _gpu(index: int) -> Gpu:
    try:
        properties = torch.cuda.get_device_properties(index)
        gpu = Gpu(name=properties.name, uuid=str(properties.uuid))
    except (AssertionError, RuntimeError) as error:
        return Gpu(name=f"GPU {index}", problem=_first_line(error))
    return gpu.model_copy(update={"problem": _problem(index)})


def _problem(index: int) -> str | None:
    """Return why a matrix product on the GPU fails; None if it is right."""
    capability = torch.cuda.get_device_capability(index)
    if not is_supported(capability, torch.cuda.get_arch_list()):
        return unsupported_gpu(capability, torch.__version__)
    try:
        ones = torch.ones(SIDE, SIDE, device=f"cuda:{index}")
        total = (ones @ ones).sum().item()
    except RuntimeError as error:
        if is_out_of_memory(error):
            return "it has no free memory: other processes use it"
        return f"an operation on it failed: {_first_line(error)}"
    return None if total == SIDE**3 else f"it computes wrong results: {total} instead of {SIDE**3}"


def _first_line(error: BaseException) -> str:
    return f"{error}".strip().split("\n")[0][:200] or type(error).__name__


if __name__ == "__main__":
    sys.stdout.write(report().model_dump_json())
