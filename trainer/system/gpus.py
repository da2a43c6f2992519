"""What PyTorch says of this machine's GPUs, as one process reports it to another. Free of torch."""

from __future__ import annotations

import re
from collections.abc import Sequence

from pydantic import BaseModel

VISIBLE = "CUDA_VISIBLE_DEVICES"


class Gpu(BaseModel):
    """A GPU in PyTorch's order. `uuid` is without "GPU-"; `problem` says why it cannot be trained on."""

    name: str
    uuid: str = ""
    problem: str | None = None


class GpuReport(BaseModel):
    """`problem` says why CUDA does not work at all; there are no `gpus` then."""

    gpus: list[Gpu] = []
    problem: str | None = None


def is_supported(capability: tuple[int, int], built_for: Sequence[str]) -> bool:
    """Return whether a PyTorch whose `torch.cuda.get_arch_list()` is `built_for` has code for a compute capability.

    "sm_86" is machine code for 8.6 and later 8.x; "compute_86" is compiled by the driver for 8.6 and whatever is later;
    code with a letter, as in "sm_90a", runs on that capability alone.
    """
    for architecture in built_for:
        match = re.fullmatch(r"(sm|compute)_([0-9]+)([0-9])([a-z]?)", architecture)
        if match is None:
            continue
        kind, code, letter = match[1], (int(match[2]), int(match[3])), match[4]
        if letter:
            supported = capability == code
        else:
            supported = capability >= code and (kind == "compute" or capability[0] == code[0])
        if supported:
            return True
    return False


def unsupported_gpu(capability: tuple[int, int], torch_version: str) -> str:
    return (
        f"its compute capability {capability[0]}.{capability[1]} is not supported by PyTorch {torch_version}: install "
        f"a build of PyTorch that supports it, or hide the GPU with {VISIBLE}"
    )


def unusable_cuda(error: str, torch_version: str, cuda_version: str | None) -> str | None:
    """Say why CUDA does not work, given the message of what torch.cuda.init() raised; None if there is just no GPU."""
    if cuda_version is None:
        return f"PyTorch {torch_version} was built without CUDA: install a build with it to train on a GPU"
    if "No CUDA GPUs are available" in error or "no CUDA-capable device" in error:
        return None
    if "driver on your system is too old" in error or "driver version is insufficient" in error:
        return (
            f"NVIDIA's driver is too old for PyTorch {torch_version}, which needs CUDA {cuda_version}: update the "
            "driver, or install a PyTorch built for an older CUDA"
        )
    return f"CUDA cannot be used: {error.strip().splitlines()[0] if error.strip() else 'unknown error'}"
