"""The compute device: setup, precision, torch.compile support and memory for the dataset."""

from __future__ import annotations

import gc
import os
import shutil
import sysconfig
from pathlib import Path

import psutil
import torch

from trainer.plan.decisions import Decisions
from trainer.spec.catalog import architecture
from trainer.spec.train_spec import TrainSpec
from trainer.system.gpus import VISIBLE
from trainer.system.parallel import available_cores

DATA_SHARE = 0.5  # maximum share of the device's memory that the dataset takes
TENSOR_CORES = (7, 0)  # compute capability from which GPUs multiply float16 in tensor cores
SEARCH_STEPS = 500  # with images of one size: the search takes time, and what it gains is a part of each step
DATA_LIMIT = "TRACKSIDE_DEVICE_DATA_BYTES"


def prepare(name: str, threads: int = 0, sharing: int = 1) -> torch.device:
    """Set up the device `name` ("cpu", "cuda:0", "mps", "cuda:MIG-…") in this process, and make it the current one.

    `threads` = 0 takes OMP_NUM_THREADS threads, or one per core where that is not set. `sharing` processes share them.
    """
    device = device_named(name)
    wanted = threads or openmp_threads(os.environ.get("OMP_NUM_THREADS", "")) or available_cores()
    torch.set_num_threads(max(1, wanted // sharing))
    if device.type == "cuda":
        # What takes no device, such as random states and Adam's kernels, is to use this one instead of the first.
        torch.cuda.set_device(device)
        torch.backends.cuda.matmul.allow_tf32 = True
        torch.backends.cudnn.allow_tf32 = True
    return device


def search_kernels(steps: int) -> None:
    """Let cuDNN try its kernels for each new input size, if at least SEARCH_STEPS steps follow with the same size."""
    torch.backends.cudnn.benchmark = steps >= SEARCH_STEPS


def device_named(name: str) -> torch.device:
    """Return PyTorch's device. One that is named by its UUID, such as a MIG instance, is made the only visible one.

    That has an effect only before CUDA is initialized in this process. "cpu:1" is a part of the processor that has a
    worker of its own: to PyTorch it is the same device.
    """
    kind, _, entry = name.partition(":")
    if kind == "cpu":
        return torch.device("cpu")
    if kind == "cuda" and entry and not entry.isdecimal():
        os.environ[VISIBLE] = entry
        return torch.device("cuda:0")
    return torch.device(name)


def openmp_threads(variable: str) -> int:
    """Return the threads of the outermost parallel region in OMP_NUM_THREADS, such as 4 of "4,2"; 0 if it is invalid.

    OpenMP 5.2, section 21.1.2: a list of positive integers, one per nesting level. libgomp ignores an invalid one too.
    """
    first = variable.split(",")[0].strip()
    return int(first) if first.isascii() and first.isdecimal() and len(first) < 6 else 0


def precision_of(spec: TrainSpec, device: torch.device, decisions: Decisions, *, began: bool) -> torch.dtype:
    """Return the dtype in which a run starts. `auto` is decided once, so that one resumed elsewhere goes on as before.

    `began`: the run has a checkpoint. If nothing was decided then, an earlier version of the trainer made it.
    """
    if spec.precision != "auto":
        return pick_precision(spec, device)
    decided = decisions.first("precision")
    if decided is None:
        earlier = began and device.type == "cpu" and cpu_multiplies_bf16()
        precision = torch.bfloat16 if earlier else pick_precision(spec, device)
        decided = decisions.insert(0, "precision", dtype=str(precision).removeprefix("torch."))
    dtype: torch.dtype = getattr(torch, decided.values["dtype"])
    return dtype


def pick_precision(spec: TrainSpec, device: torch.device) -> torch.dtype:
    """Return the dtype of the forward and backward pass.

    `auto` is bfloat16 on a GPU that has instructions for it; else float16 on one with tensor cores (Volta, Turing),
    whose loss is scaled; and float32 elsewhere. A longer run on a CPU changes to what a probe finds faster.
    """
    match spec.precision:
        case "auto" if device.type == "cuda":
            bf16 = torch.cuda.is_bf16_supported(including_emulation=False)
            return gpu_precision(torch.cuda.get_device_capability(device), bf16=bf16)
        case "auto":
            return torch.float32
        case "bf16":
            return torch.bfloat16
        case "fp16":
            return torch.float16
        case "float32":
            return torch.float32


def gpu_precision(capability: tuple[int, int], *, bf16: bool) -> torch.dtype:
    """Return the format in which a GPU of a compute capability multiplies fastest; `bf16`: it has bfloat16."""
    if bf16:
        return torch.bfloat16
    return torch.float16 if capability >= TENSOR_CORES else torch.float32


def cpu_multiplies_bf16() -> bool:
    """Return whether the CPU has instructions for bfloat16, as opposed to a slow emulation."""
    return bool(torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())


def accumulator(device: torch.device) -> torch.dtype:
    """Return the dtype of sums on a device: float64, which Apple's GPUs do not have."""
    return torch.float32 if device.type == "mps" else torch.float64


def gains_by_compiling(spec: TrainSpec, device: torch.device) -> bool:
    """Return whether a run may try torch.compile."""
    if spec.compile == "off" or spec.caches_features or not can_compile(device):
        return False
    if spec.compile == "on" or device.type == "cuda":
        return True
    known = architecture(spec.model.name)
    return known is not None and known.compiles_on_cpu  # of the others none was seen to gain


def can_compile(device: torch.device) -> bool:
    """Return whether torch.compile can build its code. On a CPU this takes a C++ compiler and Python's headers."""
    if device.type == "cuda":
        return True
    headers = Path(sysconfig.get_paths()["include"]) / "Python.h"
    return device.type == "cpu" and shutil.which(os.environ.get("CXX", "g++")) is not None and headers.exists()


def data_limit(device: torch.device) -> int:
    """Maximum size in bytes of images kept on the device. Larger datasets are streamed."""
    if given := os.environ.get(DATA_LIMIT):
        return int(given)
    free = torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else memory_of(device)
    return int(DATA_SHARE * free)


def memory_of(device: torch.device) -> int:
    """Return the bytes of memory of a device, free or not."""
    total: int = psutil.virtual_memory().total
    return torch.cuda.mem_get_info(device)[1] if device.type == "cuda" else total


def free_memory() -> None:
    """Free the memory of objects that nobody uses, and what the device's allocator keeps."""
    gc.collect()
    if torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
        torch.cuda.empty_cache()
