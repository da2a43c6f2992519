"""What PyTorch's messages about GPUs mean to the person who reads them."""

from __future__ import annotations

import pytest

from trainer.system.gpus import is_supported, unusable_cuda

WHEEL = ["sm_75", "sm_80", "sm_86", "sm_90", "sm_100", "sm_120", "compute_120"]


@pytest.mark.parametrize(
    ("capability", "built_for", "supported"),
    [
        ((6, 1), WHEEL, False),
        ((7, 0), WHEEL, False),
        ((7, 5), WHEEL, True),
        ((8, 9), WHEEL, True),  # runs the code for 8.6
        ((9, 0), WHEEL, True),
        ((12, 1), WHEEL, True),
        ((13, 0), WHEEL, True),  # the driver compiles the code for 12.0
        ((13, 0), WHEEL[:-1], False),
        ((9, 0), ["sm_90a"], True),
        ((9, 1), ["sm_90a"], False),
        ((9, 0), [], False),
        ((9, 0), ["gfx90a"], False),
    ],
)
def test_a_gpu_is_supported_by_code_for_its_generation_or_for_any_later(
    capability: tuple[int, int], built_for: list[str], supported: bool
) -> None:
    assert is_supported(capability, built_for) == supported


def test_why_cuda_does_not_work_is_said_in_words() -> None:
    old = "The NVIDIA driver on your system is too old (found version 11040). Please update your GPU driver"
    assert "driver is too old for PyTorch 2.14, which needs CUDA 13.0" in str(unusable_cuda(old, "2.14", "13.0"))
    assert "without CUDA" in str(unusable_cuda("Torch not compiled with CUDA enabled", "2.14+cpu", None))
    assert unusable_cuda("No CUDA GPUs are available", "2.14", "13.0") is None
    assert unusable_cuda("CUDA unknown error - this may be\nlong", "2.14", "13.0") == (
        "CUDA cannot be used: CUDA unknown error - this may be"
    )
