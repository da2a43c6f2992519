"""Compile the simulated CUDA device and give the environment in which torch uses it."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterable
from importlib.util import find_spec
from pathlib import Path

SOURCES = Path(__file__).parent / "device"
TORCH = find_spec("torch")  # does not load it
assert TORCH is not None
assert TORCH.origin is not None
PACKAGES = Path(TORCH.origin).parents[1]
LIBRARY = "libcuda.so.1"
OTHER_NAMES = ("libcuda.so", "libnvidia-ml.so.1")  # under which Triton and pynvml look for it
PREFIXES = re.compile(r"cu(da|blas|blasLt|dnn)[A-Z]")  # of the functions that torch's libraries import
WARNINGS = ("-Wall", "-Wextra", "-Wno-unused-parameter", "-Werror")


def missing() -> str | None:
    """Return what this machine lacks for the simulated device, or None."""
    if shutil.which("gcc") is None or shutil.which("nm") is None:
        return "no gcc"
    torch_version = (PACKAGES / "torch" / "version.py").read_text()
    if re.search(r"^cuda: Optional\[str\] = '13\.", torch_version, re.MULTILINE) is None:
        return "torch is not a CUDA 13 build"
    if not (PACKAGES / "nvidia" / "cu13" / "include" / "cuda_runtime_api.h").exists():
        return "no headers of CUDA 13"
    return None


def build(folder: Path) -> Path:
    """Compile the library into `folder` and return its path. Raises subprocess.CalledProcessError."""
    headers = [SOURCES / "include", PACKAGES / "nvidia" / "cu13" / "include", PACKAGES / "nvidia" / "cudnn" / "include"]
    includes = [f"-I{path}" for path in headers]
    library = folder / LIBRARY
    sources = [str(path) for path in sorted(SOURCES.glob("*.c"))]
    parts = []
    for source in sources:
        parts.append(str(folder / Path(source).with_suffix(".o").name))
        _gcc("-fPIC", "-O1", *WARNINGS, *includes, "-c", source, "-o", parts[-1])
    stubs = folder / "stubs.c"
    stubs.write_text(stub_source(imported() - defined(parts)))
    exports = f"-Wl,-soname,{LIBRARY},--version-script={SOURCES / 'exports.map'}"
    _gcc("-shared", "-fPIC", exports, *parts, str(stubs), "-o", str(library), "-ldl", "-lpthread")
    for name in OTHER_NAMES:
        (folder / name).symlink_to(LIBRARY)
    return library


def environment(library: Path) -> dict[str, str]:
    """Return the variables with which a process, and what it starts, sees the simulated device."""
    paths = [str(library.parent), *os.environ.get("LD_LIBRARY_PATH", "").split(":")]
    return {
        "LD_PRELOAD": str(library),
        "LD_LIBRARY_PATH": ":".join(filter(None, paths)),
        "TRITON_LIBCUDA_PATH": str(library.parent),
    }


def imported() -> set[str]:
    """Return the functions of CUDA's runtime, cuBLAS and cuDNN that torch's libraries import."""
    return _symbols(map(str, (PACKAGES / "torch" / "lib").glob("*.so")), "--undefined-only", "--dynamic")


def defined(objects: Iterable[str]) -> set[str]:
    return _symbols(objects, "--defined-only")


def stub_source(names: Iterable[str]) -> str:
    """Return C functions that do nothing and succeed: computations of cuBLAS and cuDNN, descriptors, and graphs."""
    return "".join(f"int {name}(void) {{ return 0; }}\n" for name in sorted(names))


def _symbols(files: Iterable[str], *options: str) -> set[str]:
    output = subprocess.run(["nm", *options, *files], check=True, capture_output=True, text=True).stdout
    names = (line.split()[-1].split("@")[0] for line in output.splitlines() if line.startswith((" ", "0")))
    return {name for name in names if PREFIXES.match(name)}


def _gcc(*arguments: str) -> None:
    subprocess.run(["gcc", *arguments], check=True)
