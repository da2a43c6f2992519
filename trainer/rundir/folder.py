"""The directories of runs and tasks, which are the source of truth. No other module knows the names of the files.

runs/<id>/    spec.json  dataset.json  initial.safetensors  decisions.jsonl  pause  wind-down  hold  meeting
              checkpoints/<step>.safetensors  checkpoints/<step>.json
              artifacts/val/<step>.safetensors  artifacts/checks/<name>.png  artifacts/features.safetensors
of a script   script.json  sessions.jsonl  append.lock  last-heard  logged-files/<sha256>
tasks/<id>/   task.json  upload.zip  predictions.csv  result.json
searches/<id>/  search.json  meta.jsonl  lock
runs, tasks   committed  meta.jsonl  events/<attempt>.jsonl  lock  owner  output.log
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

_ID = re.compile(r"[0-9A-Za-z][0-9A-Za-z_-]{0,39}")
_COMMITTED = "committed"


def is_job_id(text: str) -> bool:
    """Return whether `text` can be the id of a run or a task. It is a directory name: no other path is accepted."""
    return _ID.fullmatch(text) is not None


def is_committed(jobs: Path, text: str) -> bool:
    """Return whether `text` is the id of a job in the folder `jobs`. Fast, since every prediction asks for it."""
    return is_job_id(text) and os.path.exists(f"{jobs}/{text}/{_COMMITTED}")  # noqa: PTH110


@dataclass(frozen=True, slots=True)
class JobDir:
    """Paths common to the directories of runs and tasks. Nothing is checked for existence."""

    path: Path

    @property
    def committed(self) -> Path:
        """An empty file, written last: without it, the creation of the job was not acknowledged."""
        return self.path / _COMMITTED

    @property
    def journal(self) -> Path:
        """What users added and requested (trainer/rundir/journal.py)."""
        return self.path / "meta.jsonl"

    @property
    def events_folder(self) -> Path:
        return self.path / "events"

    def events(self, attempt: int) -> Path:
        """The events of an attempt (trainer/rundir/events.py)."""
        return self.events_folder / f"{attempt}.jsonl"

    @property
    def lock(self) -> Path:
        """Held by the trainer while it runs (trainer/rundir/lock.py)."""
        return self.path / "lock"

    @property
    def owner(self) -> Path:
        """Touched by the worker: a trainer whose owner file stays unchanged saves and exits."""
        return self.path / "owner"

    @property
    def output(self) -> Path:
        """The stdout and stderr of the trainer's process."""
        return self.path / "output.log"


@dataclass(frozen=True, slots=True)
class RunDir(JobDir):
    def make_folders(self) -> None:
        """Make the folders that a trainer writes to, where they are missing."""
        for folder in (self.events_folder, self.checkpoints, self.artifacts):
            folder.mkdir(parents=True, exist_ok=True)

    @property
    def spec(self) -> Path:
        """The TrainSpec, never rewritten (trainer/rundir/spec.py)."""
        return self.path / "spec.json"

    @property
    def dataset(self) -> Path:
        """The dataset's record as it was when the run was created."""
        return self.path / "dataset.json"

    @property
    def initial_weights(self) -> Path:
        """The initial weights of a branch: its parent's checkpoint."""
        return self.path / "initial.safetensors"

    @property
    def sent_weights(self) -> Path:
        """On a node, the folder of the file of weights that was sent with the run (trainer/rundir/spec.py)."""
        return self.path / "sent-weights"

    @property
    def decisions(self) -> Path:
        """The decisions made during training (trainer/plan/decisions.py)."""
        return self.path / "decisions.jsonl"

    def environment(self, attempt: int) -> Path:
        """What an attempt was trained with (trainer/rundir/environment.py)."""
        return self.path / "environment" / f"{attempt}.json"

    @property
    def git_state(self) -> Path:
        """The commit of the directory where `trackside train` was called."""
        return self.path / "git.json"

    @property
    def git_diff(self) -> Path:
        """The uncommitted changes there."""
        return self.path / "git.diff"

    @property
    def pause(self) -> Path:
        """Exists while the run is requested to save and return to the queue."""
        return self.path / "pause"

    @property
    def finish_early(self) -> Path:
        """Exists while the run is requested to finish early: to anneal, then test."""
        return self.path / "wind-down"

    @property
    def hold(self) -> Path:
        """The step at which a search has the run stop (trainer/rundir/hold.py)."""
        return self.path / "hold"

    @property
    def meeting(self) -> Path:
        """Exists on a node while rank 0 waits for the other ranks (trainer/process/meeting.py)."""
        return self.path / "meeting"

    @property
    def checkpoints(self) -> Path:
        return self.path / "checkpoints"

    def weights(self, step: int) -> Path:
        return self.checkpoints / f"{step:08d}.safetensors"

    def sidecar(self, step: int) -> Path:
        """The CheckpointInfo of the weights, written after them (trainer/rundir/checkpoints.py)."""
        return self.checkpoints / f"{step:08d}.json"

    @property
    def artifacts(self) -> Path:
        return self.path / "artifacts"

    @property
    def calibration(self) -> Path:
        """How the selected model is calibrated (trainer/rundir/calibration.py)."""
        return self.artifacts / "calibration.json"

    @property
    def threshold(self) -> Path:
        """The probability below which predictions are "not sure" (trainer/rundir/threshold.py)."""
        return self.artifacts / "threshold.json"

    @property
    def selected(self) -> Path:
        """The selected model's probabilities of all classes for the validation split (trainer/rundir/answers.py)."""
        return self.artifacts / "selected.safetensors"

    @property
    def answers_folder(self) -> Path:
        return self.artifacts / "val"

    def answers(self, step: int) -> Path:
        """The predictions for the validation split at `step` (trainer/rundir/answers.py)."""
        return self.answers_folder / f"{step:08d}.safetensors"

    @property
    def checks(self) -> Path:
        return self.artifacts / "checks"

    def check_picture(self, name: str) -> Path:
        """The images that a pre-training check used."""
        return self.checks / f"{name}.png"

    @property
    def features(self) -> Path:
        """A frozen backbone's features (trainer/engine/features.py)."""
        return self.artifacts / "features.safetensors"

    @property
    def script(self) -> Path:
        """What a script run was created with (trainer/rundir/script.py). Runs of Trackside's trainer have none."""
        return self.path / "script.json"

    @property
    def sessions(self) -> Path:
        """The sessions of a script run, one per attempt (trainer/rundir/script.py)."""
        return self.path / "sessions.jsonl"

    @property
    def append_lock(self) -> Path:
        """Held while a script run's sessions or events are written."""
        return self.path / "append.lock"

    @property
    def heard(self) -> Path:
        """Touched whenever the client of a script run sends something."""
        return self.path / "last-heard"

    @property
    def logged_files(self) -> Path:
        """The images and files that a script logged, by their hash."""
        return self.path / "logged-files"

    def logged_file(self, sha256: str) -> Path:
        return self.logged_files / sha256


@dataclass(frozen=True, slots=True)
class TaskDir(JobDir):
    @property
    def request(self) -> Path:
        return self.path / "task.json"

    @property
    def upload(self) -> Path:
        return self.path / "upload.zip"

    @property
    def manifest(self) -> Path:
        """The manifest of an import, where one was sent."""
        return self.path / "manifest"

    @property
    def evaluation(self) -> Path:
        """The figures of an evaluation (trainer/exported/evaluation.py)."""
        return self.path / "evaluation.json"

    @property
    def evaluated(self) -> Path:
        """The predictions of an evaluation (trainer/rundir/answers.py)."""
        return self.path / "evaluated.safetensors"

    @property
    def predictions(self) -> Path:
        """The output of a task that classifies images."""
        return self.path / "predictions.csv"

    @property
    def result(self) -> Path:
        """The result of such a task, written after its predictions, so that they are not computed twice."""
        return self.path / "result.json"


@dataclass(frozen=True, slots=True)
class SearchDir:
    """The directory of a search: its trials are runs."""

    path: Path

    @property
    def request(self) -> Path:
        """The request, written last when the search is created, never rewritten."""
        return self.path / "search.json"

    @property
    def lock(self) -> Path:
        """Held by the worker that looks for the next trial."""
        return self.path / "lock"
