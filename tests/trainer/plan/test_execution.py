from __future__ import annotations

from pathlib import Path

import pytest

from trainer.plan.execution import Execution, Verdict, Verdicts, Workload
from trainer.spec.model_spec import ModelSpec

WORKLOAD = Workload("2.14.1", 2, ModelSpec(name="cnn"), images=64, size=32)
VERDICT = Verdict(Execution("bf16", True, 2), {"bfloat16, channels_last, 2 threads": 3.5}, compile=True)


def test_a_verdict_is_remembered_for_its_workload_only(tmp_path: Path) -> None:
    verdicts = Verdicts(tmp_path / "execution")
    assert verdicts.get(WORKLOAD) is None
    verdicts.put(WORKLOAD, VERDICT)
    assert verdicts.get(WORKLOAD) == VERDICT
    for other in (
        Workload("2.15.0", 2, WORKLOAD.model, 64, 32),
        Workload("2.14.1", 4, WORKLOAD.model, 64, 32),
        Workload("2.14.1", 2, ModelSpec(name="cnn", widths=(8, 8, 8)), 64, 32),
        Workload("2.14.1", 2, WORKLOAD.model, 128, 32),
        Workload("2.14.1", 2, WORKLOAD.model, 64, 64),
    ):
        assert verdicts.get(other) is None


@pytest.mark.parametrize("content", [b"", b"{}", b"[]", b'{"execution": {"precision": "bf16", "cores": 3}}'])
def test_a_damaged_file_counts_as_absent_and_is_replaced(tmp_path: Path, content: bytes) -> None:
    verdicts = Verdicts(tmp_path)
    verdicts.put(WORKLOAD, VERDICT)
    next(tmp_path.iterdir()).write_bytes(content)
    assert verdicts.get(WORKLOAD) is None
    verdicts.put(WORKLOAD, VERDICT)
    assert verdicts.get(WORKLOAD) == VERDICT


def test_without_a_folder_nothing_is_remembered(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for verdicts in (Verdicts(None), Verdicts(tmp_path / "file" / "execution")):
        verdicts.put(WORKLOAD, VERDICT)
        assert verdicts.get(WORKLOAD) is None


def test_an_execution_is_told_in_the_words_of_torch() -> None:
    assert str(Execution("bf16", True, 2)) == "bfloat16, channels_last, 2 threads"
    assert str(Execution("float32", False, 1)) == "float32, contiguous, 1 thread"
