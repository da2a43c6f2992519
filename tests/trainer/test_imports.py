"""What each process imports: torch only where it is needed, FastAPI only in the web process."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy

TORCH = ("torch", "torchvision")
WEB = ("fastapi", "starlette", "jinja2")
NVML = ("pynvml",)
SCIPY = ("scipy",)


@pytest.mark.parametrize(
    ("module", "unwanted"),
    [
        ("app.main", (*TORCH, *NVML, *SCIPY)),
        ("app.web", TORCH),
        ("app.worker", (*TORCH, *WEB, *SCIPY)),
        ("app.jobs.kinds", (*TORCH, *WEB)),
        ("app.supervisor", TORCH),
        ("app.cli", TORCH),
        ("app.prediction.client", (*TORCH, *WEB)),
        ("app.predictor.parent", TORCH),
        ("app.predictor.decoder", (*TORCH, *WEB, "sqlalchemy")),
        ("trainer.spec.train_spec", (*TORCH, "numpy", "PIL")),
        ("trainer.spec.tasks", (*TORCH, "numpy", "PIL")),
        ("trainer.rundir.lock", (*TORCH, "numpy", "PIL")),
        ("trainer.rundir.folder", (*TORCH, "numpy", "PIL")),
        ("trainer.rundir.journal", (*TORCH, "numpy", "PIL")),
        ("trainer.rundir.events", (*TORCH, "numpy", "PIL")),
        ("trainer.plan.schedule", (*TORCH, "numpy", "PIL")),
        ("trainer.process.assignment", (*TORCH, "numpy", "PIL")),
        ("app.predictor.serving", ("torchvision", "torch._dynamo")),
        ("trainer.loop", SCIPY),
        ("trainer.tasks", SCIPY),
        ("trainer.data.sources.torchvision", (*TORCH, *SCIPY)),
    ],
)
def test_a_module_loads_no_more_than_it_needs(module: str, unwanted: tuple[str, ...]) -> None:
    script = f"import sys, {module}; print(*sorted(set({unwanted!r}) & sys.modules.keys()))"
    done = subprocess.run([sys.executable, "-c", script], check=True, timeout=60, capture_output=True, text=True)
    assert done.stdout.split() == []


def test_an_exported_model_is_looked_at_without_torch(tmp_path: Path) -> None:
    """safetensors imports the framework it is asked for upon opening: here, and in the web process, it is NumPy."""
    path = tmp_path / "model.safetensors"
    safetensors.numpy.save_file({"model.w": np.zeros(3, np.float32)}, path)
    script = f"""
import contextlib, sys
from pathlib import Path
from trainer.exported.portable import Portable, PortableDamaged, plan_packing, read_portable
assert plan_packing(Path({str(path)!r}), Portable.model_construct()).spans
with contextlib.suppress(PortableDamaged):
    read_portable(Path({str(path)!r}))
print("torch" in sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", script], check=True, timeout=60, capture_output=True, text=True)
    assert done.stdout.split() == ["False"]
