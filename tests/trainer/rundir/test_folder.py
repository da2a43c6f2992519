"""The names on disk, which other versions and people's scripts rely on."""

from __future__ import annotations

from pathlib import Path

import pytest

from trainer.rundir.folder import JobDir, RunDir, TaskDir, is_job_id

SHARED = {
    "committed": "committed",
    "journal": "meta.jsonl",
    "events_folder": "events",
    "lock": "lock",
    "owner": "owner",
    "output": "output.log",
}
RUN = SHARED | {
    "spec": "spec.json",
    "dataset": "dataset.json",
    "initial_weights": "initial.safetensors",
    "decisions": "decisions.jsonl",
    "pause": "pause",
    "wind_down": "wind-down",
    "checkpoints": "checkpoints",
    "artifacts": "artifacts",
    "answers_folder": "artifacts/val",
    "checks": "artifacts/checks",
    "features": "artifacts/features.safetensors",
}
TASK = SHARED | {
    "request": "task.json",
    "upload": "upload.zip",
    "predictions": "predictions.csv",
    "result": "result.json",
}


@pytest.mark.parametrize(("job", "expected"), [(JobDir, SHARED), (RunDir, RUN), (TaskDir, TASK)])
def test_each_file_has_its_place(job: type[JobDir], expected: dict[str, str]) -> None:
    folder = job(Path("/runs/abc"))
    named = {name for name in dir(job) if isinstance(getattr(job, name), property)}
    found = {name: str(getattr(folder, name).relative_to("/runs/abc")) for name in named}
    assert found == expected


def test_files_of_a_step_or_an_attempt() -> None:
    run = RunDir(Path("/runs/abc"))
    paths = [run.events(3), run.weights(40), run.sidecar(40), run.answers(40), run.check_picture("input")]
    assert [str(path.relative_to(run.path)) for path in paths] == [
        "events/3.jsonl",
        "checkpoints/00000040.safetensors",
        "checkpoints/00000040.json",
        "artifacts/val/00000040.safetensors",
        "artifacts/checks/input.png",
    ]


@pytest.mark.parametrize("text", ["0123abcdef", "MyRun2", "a" * 40])
def test_an_id(text: str) -> None:
    assert is_job_id(text)


@pytest.mark.parametrize("text", ["", ".", "..", "a/b", "a.b", ".deleted-a", "a+b", "a\n", "a\0", "é", "٣", "a" * 41])
def test_what_is_no_id(text: str) -> None:
    assert not is_job_id(text)
