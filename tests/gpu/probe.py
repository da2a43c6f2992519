"""The first step: what PyTorch, NVML and Trackside say of the GPU."""

from __future__ import annotations

import platform
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pynvml
import torch

from app.host.devices import describe_device, find_devices, gpu_handle
from app.host.gpu_test import Question
from app.host.probes import GpuProbe
from tests.gpu.setup import Setup
from tests.gpu.verdict import Tell, Verdict, check, measurement
from trainer.system.gpus import is_supported
from trainer.system.parallel import available_cores


def probe(setup: Setup, tell: Tell) -> None:
    tell(versions())
    report = Question().wait()
    problems = [gpu.problem for gpu in report.gpus if gpu.problem] + ([report.problem] if report.problem else [])
    names = ", ".join(gpu.name for gpu in report.gpus)
    tell(check("devices that PyTorch sees, each tried", bool(names) and not problems, "; ".join(problems) or names))
    if not report.gpus:
        return
    found = find_devices()
    tell(check("devices that a server would use", setup.device in found.names("auto"), ", ".join(found.names("auto"))))
    index = torch.device(setup.device).index or 0
    tell(architectures(index))
    tell(same_gpu(setup.device, report.gpus[index].uuid))
    tell(sensors(setup.device))
    tell(compilers())
    tell(doctor())


def versions() -> Verdict:
    try:
        pynvml.nvmlInit()
        driver = str(pynvml.nvmlSystemGetDriverVersion())
    except pynvml.NVMLError as error:
        driver = f"unknown ({error})"
    cudnn = torch.backends.cudnn.version()  # type: ignore[no-untyped-call]
    return measurement(
        "versions",
        f"torch {torch.__version__}, CUDA {torch.version.cuda}, cuDNN {cudnn}, driver {driver}, "
        f"Python {platform.python_version()}, {available_cores()} cores",
    )


def architectures(index: int) -> Verdict:
    capability, built_for = torch.cuda.get_device_capability(index), torch.cuda.get_arch_list()
    measured = f"{capability[0]}.{capability[1]}; this PyTorch is built for {', '.join(built_for)}"
    return check("compute capability", is_supported(capability, built_for), measured)


def same_gpu(device: str, uuid: str) -> Verdict:
    """NVML and CUDA may count GPUs in different orders."""
    try:
        other = str(pynvml.nvmlDeviceGetUUID(gpu_handle(device))).removeprefix("GPU-")
    except pynvml.NVMLError as error:
        return measurement(f"NVML's UUID of {device}", str(error))
    same = other == uuid or other.startswith("MIG-")
    return check(f"NVML and PyTorch mean the same GPU by {device}", same, f"{describe_device(device)}, {other}")


def sensors(device: str) -> Verdict:
    """What is shown of the GPU while a run trains. A GPU may not answer every question."""
    try:
        reading = GpuProbe(device).read()
    except pynvml.NVMLError as error:
        return measurement("utilization, memory and temperature", str(error))
    total, used = reading.memory_total / 2**30, reading.memory / 2**30
    measured = f"{reading.utilisation:.0%}, {used:.1f} of {total:.1f} GiB, {reading.temperature} °C"
    return check("utilization, memory and temperature", 0 <= used <= total, measured)


def compilers() -> Verdict:
    """Triton compiles a launcher in C for each kernel."""
    compiler = next(filter(None, map(shutil.which, ("cc", "gcc", "clang"))), None)
    headers = Path(sysconfig.get_paths()["include"]) / "Python.h"
    measured = f"{compiler or 'no C compiler'}, {headers if headers.exists() else 'no Python.h'}"
    return check("what torch.compile needs", compiler is not None and headers.exists(), measured)


def doctor() -> Verdict:
    done = subprocess.run([sys.executable, "-m", "app.cli", "doctor"], capture_output=True, text=True)
    lines = (done.stdout + done.stderr).splitlines()
    return measurement("trackside doctor", f"exit status {done.returncode}", lines)
