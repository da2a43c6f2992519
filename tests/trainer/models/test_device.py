"""How many threads OMP_NUM_THREADS means."""

from __future__ import annotations

import pytest

from trainer.models.device import openmp_threads


@pytest.mark.parametrize(
    ("variable", "threads"),
    [("3", 3), ("4,2", 4), (" 2 , 1", 2), ("", 0), ("0", 0), ("-1", 0), ("auto", 0), ("²", 0), ("9" * 30, 0)],
)
def test_omp_num_threads_is_read_as_openmp_reads_it(variable: str, threads: int) -> None:
    assert openmp_threads(variable) == threads
