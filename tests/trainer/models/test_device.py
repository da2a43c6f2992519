"""What is chosen for a device: threads, formats of numbers."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from trainer.models.device import accumulator, gpu_precision, openmp_threads, precision_of, prepare
from trainer.plan.decisions import Decisions
from trainer.spec.preset import build_spec


@pytest.mark.parametrize(
    ("variable", "threads"),
    [("3", 3), ("4,2", 4), (" 2 , 1", 2), ("", 0), ("0", 0), ("-1", 0), ("auto", 0), ("²", 0), ("9" * 30, 0)],
)
def test_omp_num_threads_is_read_as_openmp_reads_it(variable: str, threads: int) -> None:
    assert openmp_threads(variable) == threads


@pytest.mark.parametrize(
    ("capability", "bf16", "precision"),
    [
        ((6, 1), False, torch.float32),  # Pascal: float16 is slower there
        ((7, 0), False, torch.float16),  # Volta
        ((7, 5), False, torch.float16),  # Turing
        ((8, 0), True, torch.bfloat16),
        ((9, 0), True, torch.bfloat16),
    ],
)
def test_auto_takes_the_format_that_a_gpu_multiplies_fastest(
    capability: tuple[int, int], bf16: bool, precision: torch.dtype
) -> None:
    assert gpu_precision(capability, bf16=bf16) == precision


def test_sums_are_in_float64_where_the_device_has_it() -> None:
    assert [accumulator(torch.device(name)) for name in ("cpu", "cuda:1", "mps")] == [
        torch.float64,
        torch.float64,
        torch.float32,
    ]


def test_auto_is_decided_once_per_run(tmp_path: Path) -> None:
    """A run that is resumed on a device with another choice of its own goes on as it began."""
    spec, cpu = build_spec("shapes100", "quick", {"precision": "auto"}), torch.device("cpu")
    Decisions(tmp_path).insert(0, "precision", dtype="float16")
    assert precision_of(spec, cpu, Decisions(tmp_path), began=False) == torch.float16

    fresh = tmp_path / "fresh"
    fresh.mkdir()
    chosen = precision_of(spec, cpu, Decisions(fresh), began=False)
    decided = Decisions(fresh).first("precision")
    assert decided is not None
    assert getattr(torch, decided.values["dtype"]) == chosen

    asked = build_spec("shapes100", "quick", {"precision": "bf16"})
    assert precision_of(asked, cpu, Decisions(tmp_path), began=False) == torch.bfloat16


def test_the_number_of_threads_is_not_only_for_a_cpu() -> None:
    before = torch.get_num_threads()
    try:
        prepare("meta", threads=before + 1)
        assert torch.get_num_threads() == before + 1
    finally:
        torch.set_num_threads(before)
