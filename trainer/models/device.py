"""The compute device: setup, precision, torch.compile support and memory for the dataset."""

from __future__ import annotations

import os
import shutil
import sysconfig
from pathlib import Path

import psutil
import torch

from trainer.spec.catalog import MODELS
from trainer.spec.train_spec import TrainSpec
from trainer.system.parallel import available_cores

DATA_SHARE = 0.5  # maximum share of the device's memory that the dataset takes
DATA_LIMIT = "TRACKSIDE_DEVICE_DATA_BYTES"


def prepare(name: str, threads: int = 0) -> torch.device:
    """Set up the device `name` ("cpu", "cuda:0", "mps") in this process.

    On a CPU `threads` = 0 takes OMP_NUM_THREADS threads, or one per core where that is not set.
    """
    device = torch.device(name)
    if device.type == "cpu":
        torch.set_num_threads(threads or openmp_threads(os.environ.get("OMP_NUM_THREADS", "")) or available_cores())
    if device.type == "cuda":
        torch.backends.cuda.matmul.allow_tf32 = True
        torch.backends.cudnn.allow_tf32 = True
        torch.backends.cudnn.benchmark = True
    return device


def openmp_threads(variable: str) -> int:
    """Return the threads of the outermost parallel region in OMP_NUM_THREADS, such as 4 of "4,2"; 0 if it is invalid.

    OpenMP 5.2, section 21.1.2: a list of positive integers, one per nesting level. libgomp ignores an invalid one too.
    """
    first = variable.split(",")[0].strip()
    return int(first) if first.isascii() and first.isdecimal() and len(first) < 6 else 0


def pick_precision(spec: TrainSpec, device: torch.device) -> torch.dtype:
    """Return the dtype of the forward and backward pass.

    `auto` is bfloat16 where the device, CPUs included, has instructions for it, and float32 elsewhere.
    """
    match spec.precision:
        case "auto":
            return torch.bfloat16 if multiplies_bf16(device) else torch.float32
        case "bf16":
            return torch.bfloat16
        case "fp16":
            return torch.float16
        case "float32":
            return torch.float32


def multiplies_bf16(device: torch.device) -> bool:
    """Return whether the device has instructions for bfloat16, as opposed to a slow emulation."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    if device.type == "cpu":
        return bool(torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())
    return False


def gains_by_compiling(spec: TrainSpec, device: torch.device) -> bool:
    """Return whether a run may switch to torch.compile. For CPUs `auto` was measured per network."""
    if spec.compile == "off" or spec.caches_features or not can_compile(device):
        return False
    if spec.compile == "on" or device.type == "cuda":
        return True
    known = MODELS.get(spec.model.name)
    return known is not None and known.compiles_on_cpu  # of the project's networks only `cnn` gains


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
    total = torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else psutil.virtual_memory().total
    return int(DATA_SHARE * total)
