"""Answers on the validation split: what is on disk, and what a power cut may have left there."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy

from trainer.rundir.answers import Answers, answered_steps, last_answers, read_answers, write_answers
from trainer.rundir.folder import RunDir


def answers(step: int) -> Answers:
    return Answers(
        step,
        row=np.array([3, 1, 2], np.int32),
        guess=np.array([0, 99, 7], np.int16),
        own=np.array([0.5, 0.25, 0], np.float16),
        top=np.array([0.5, 0.75, 1], np.float16),
    )


def as_bytes(**changed: np.ndarray | None) -> bytes:
    kept = answers(0)
    tensors = {"row": kept.row, "guess": kept.guess, "own": kept.own, "top": kept.top, **changed}
    return safetensors.numpy.save({name: value for name, value in tensors.items() if value is not None})


def test_what_is_written_is_read(tmp_path: Path) -> None:
    for step in (10, 200, 123_456_789):
        write_answers(tmp_path, answers(step))
    folder = tmp_path / "artifacts" / "val"
    assert {path.name for path in folder.iterdir()} == {
        "00000010.safetensors", "00000200.safetensors", "123456789.safetensors",
    }  # fmt: skip
    tensors = safetensors.numpy.load_file(folder / "00000010.safetensors")
    assert {name: str(value.dtype) for name, value in tensors.items()} == {
        "row": "int32", "guess": "int16", "own": "float16", "top": "float16",
    }  # fmt: skip
    assert answered_steps(tmp_path) == [10, 200, 123_456_789]
    read = read_answers(tmp_path, 200)
    assert read is not None
    assert read.step == 200
    for name in ("row", "guess", "own", "top"):
        assert np.array_equal(getattr(read, name), getattr(answers(200), name))


def test_nothing_kept(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert answered_steps(tmp_path) == []
    assert read_answers(tmp_path, 10) is None
    assert last_answers(tmp_path) is None
    assert caplog.records == []


@pytest.mark.parametrize(
    "left",
    [b"", b"\0" * 400, b"cut short", as_bytes()[:-1], as_bytes(row=None), as_bytes(own=np.zeros(2, np.float16))],
    ids=["empty", "zeros", "no header", "cut", "an array missing", "lengths differ"],
)
def test_a_damaged_file_is_taken_as_absent(tmp_path: Path, caplog: pytest.LogCaptureFixture, left: bytes) -> None:
    for step in (10, 20):
        write_answers(tmp_path, answers(step))
    path = RunDir(tmp_path).answers(20)
    path.write_bytes(left)
    assert read_answers(tmp_path, 20) is None
    (record,) = caplog.records
    assert str(path) in record.getMessage()
    last = last_answers(tmp_path)
    assert last is not None
    assert last.step == 10


def test_other_files_are_no_answers(tmp_path: Path) -> None:
    write_answers(tmp_path, answers(10))
    folder = RunDir(tmp_path).answers_folder
    for name in (".tmp", ".00000020.safetensors.tmp", "notes.safetensors", "00000030.txt"):
        (folder / name).write_bytes(b"")
    assert answered_steps(tmp_path) == [10]
