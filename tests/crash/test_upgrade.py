"""Upgrade of a home from the previous version: a run in training is adopted, stopped and resumed."""

from __future__ import annotations

import io
import subprocess
import tarfile
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.conftest import ENDLESS, NARROW, Server, wait_for
from tests.crash.series import assert_whole
from trainer.data.format import read_labels
from trainer.data.splits import stratified_split
from trainer.rundir.answers import answered_steps, read_answers

REPOSITORY = Path(__file__).parents[2]
BEFORE = "88f7709"  # the last commit with flat packages; its trainers are started by `trainer.forkserver`


@pytest.fixture
def old_code(tmp_path: Path) -> Path:
    """A folder with the packages of commit `BEFORE`, extracted with `git archive`."""
    command = ["git", "-C", str(REPOSITORY), "archive", BEFORE, "app", "trainer", "templates", "static"]
    try:
        packed = subprocess.run(command, check=True, capture_output=True).stdout
    except (FileNotFoundError, subprocess.CalledProcessError):
        pytest.skip(f"the history of commit {BEFORE} is not here")
    folder = tmp_path / "before"
    with tarfile.open(fileobj=io.BytesIO(packed)) as archive:
        archive.extractall(folder, filter="data")
    return folder


def program_of(pid: int) -> str:
    return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()


@pytest.mark.long
@pytest.mark.timeout(300)
def test_a_run_that_the_version_before_trains_goes_on(server: Server, old_code: Path) -> None:
    # PYTHONSAFEPATH keeps the working directory, which contains the new packages, out of sys.path.
    server.start("web", "worker", PYTHONPATH=str(old_code), PYTHONSAFEPATH="1")
    finished = server.launch(name="finished before", overrides={**NARROW, "epochs": 1})
    server.wait_status(finished, "finished")
    run_id = server.launch(name="across", overrides={**NARROW, **ENDLESS, "seed": 3})
    server.wait_step(run_id, 5)
    trainer = server.trainer_pid(run_id)
    assert trainer is not None
    assert "-m trainer.forkserver" in program_of(trainer)
    server.kill("worker")
    server.kill("web")

    server.start("web", "worker", "predictor")
    step = server.run(run_id)["step"]
    server.wait_step(run_id, step + 5)
    assert server.trainer_pid(run_id) == trainer, "the trainer was not adopted"
    stopped = server.stop_run(run_id)
    assert stopped["attempt"] == 1

    with server.client() as client:
        assert client.post(f"/api/runs/{run_id}/resume").status_code == 202
    server.wait_step(run_id, stopped["step"] + 5)
    resumed = server.trainer_pid(run_id)
    assert resumed is not None
    assert "-m trainer.process.forkserver" in program_of(resumed)
    assert server.run(run_id)["attempt"] == 2
    server.wait_step(run_id, stopped["step"] + stopped["steps_per_epoch"])  # so that it is evaluated
    run = server.stop_run(run_id)
    assert_whole(server.series(run_id), run["step"])
    assert_split_of_its_seed(server, run_id, 3)

    assert server.run(finished)["summary"]["test/acc"] > 0
    with server.client() as client:
        image = client.get("/api/datasets/shapes100/images/test/0.png").content
        for model in (finished, run_id):
            answer = wait_for(partial(ask, client, model, image), 60)
            assert len(answer["predictions"]) == 5


def assert_split_of_its_seed(server: Server, run_id: str, seed: int) -> None:
    """Assert that every evaluation was on the images that the version before held out with the run's seed."""
    folder = server.settings.runs / run_id
    labels = read_labels(server.settings.datasets, "shapes100", "train")
    held_out = stratified_split(labels, 0.1, seed)[1]
    evaluated = [read_answers(folder, step) for step in answered_steps(folder)]
    assert evaluated
    for answers in evaluated:
        assert answers is not None
        assert answers.row.tolist() == held_out.tolist()


def ask(client: httpx.Client, model: str, image: bytes) -> dict[str, Any] | None:
    """Return the prediction for a PNG image, or None while the predictor starts (503)."""
    response = client.post(f"/api/predict?model={model}", content=image, headers={"Content-Type": "image/png"})
    if response.status_code == 503:
        return None
    assert response.status_code == 200, response.text
    body: dict[str, Any] = response.json()
    return body
