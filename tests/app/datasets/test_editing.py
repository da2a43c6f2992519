"""Datasets are deleted and renamed durably, and their runs go on being what they were."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlmodel import select

from app.commands.reindex import reindex
from app.datasets.datasets import Datasets
from app.datasets.editing import DatasetEditor
from app.errors import ApiError
from app.results.ranking import results
from app.runs.estimates import Pace, measured
from app.runs.launching import Launcher
from app.runs.query import RunQuery
from app.runs.requests import CloneRequest, NewRun, ResumeRequest
from app.runs.runs import Runs
from app.storage.tables import Run, Status
from tests.conftest import runs_in
from tests.databases import delete_database, home_environment
from tests.finished_runs import finished_run
from trainer.data.errors import BadName, DatasetMissing
from trainer.data.format import list_records, read_record
from trainer.data.sources.shapes import make_shapes100
from trainer.engine.resident import load_resident
from trainer.exported.labels import run_record
from trainer.rundir.spec import read_spec
from trainer.spec.preset import SpecError


@pytest.fixture
def runs(tmp_path: Path, shapes: Path) -> Iterator[Runs]:
    """`Runs` of a home with a dataset of its own, `shapes100`."""
    with runs_in(tmp_path, shapes) as runs:
        (tmp_path / "datasets").unlink()
        shutil.copytree(shapes / "shapes100", tmp_path / "datasets" / "shapes100")
        yield runs


@pytest.fixture
def editor(runs: Runs) -> DatasetEditor:
    return DatasetEditor(runs.database, runs.settings)


def names(runs: Runs) -> list[str]:
    return sorted(path.name for path in runs.settings.datasets.iterdir())


def put(runs: Runs, run_id: str, status: Status) -> None:
    with runs.database.write() as session:
        session.exec(select(Run).where(Run.id == run_id)).one().status = status


def launch(runs: Runs, dataset: str = "shapes100") -> str:
    request = NewRun.model_validate({"dataset": dataset, "preset": "baseline-cnn"})
    return Launcher(runs.database, runs.settings).create(request).id


def test_a_dataset_is_deleted_and_its_disk_freed(runs: Runs, editor: DatasetEditor) -> None:
    finished = finished_run(runs, [0.1, 0.3])
    usage = editor.usage("shapes100")
    assert (usage.runs, usage.waiting, usage.refusal) == (1, (), "")
    folder = runs.settings.datasets / "shapes100"
    assert usage.size == sum(file.stat().st_size for file in folder.iterdir())
    editor.delete("shapes100")
    assert names(runs) == []
    assert runs.get(finished).dataset == "shapes100"
    for name in ("shapes100", "none", "..", ".deleted-x", "a/b"):
        with pytest.raises(DatasetMissing):
            editor.delete(name)
    with pytest.raises(ApiError) as refused:
        runs.resume(finished, ResumeRequest(extend_epochs=1))
    assert refused.value.status == 409
    assert "shapes100" in refused.value.message
    assert runs.get(finished).status == Status.FINISHED
    with pytest.raises(SpecError):
        Launcher(runs.database, runs.settings).clone(finished, CloneRequest())


@pytest.mark.parametrize("status", [Status.QUEUED, Status.STARTING, Status.RUNNING, Status.STOPPING])
def test_a_dataset_is_kept_while_a_run_that_has_not_ended_uses_it(
    runs: Runs, editor: DatasetEditor, status: Status
) -> None:
    run = launch(runs)
    put(runs, run, status)
    for change in (lambda: editor.delete("shapes100"), lambda: editor.rename("shapes100", "other")):
        with pytest.raises(ApiError) as refused:
            change()
        assert refused.value.status == 409
        assert runs.get(run).name in refused.value.message
    assert names(runs) == ["shapes100"]
    put(runs, run, Status.STOPPED)
    editor.delete("shapes100")


def test_a_damaged_dataset_can_be_deleted(runs: Runs, editor: DatasetEditor) -> None:
    (runs.settings.datasets / "shapes100" / "dataset.json").write_text("{")
    editor.delete("shapes100")
    assert names(runs) == []


def test_of_a_linked_dataset_the_link_alone_is_deleted(runs: Runs, editor: DatasetEditor, shapes: Path) -> None:
    (runs.settings.datasets / "linked").symlink_to(shapes / "shapes100")
    before = (shapes / "shapes100" / "dataset.json").read_bytes()
    assert editor.rename("linked", "moved").name == "moved"
    editor.delete("moved")
    assert names(runs) == ["shapes100"]
    assert (shapes / "shapes100" / "dataset.json").read_bytes() == before


def test_a_renamed_dataset_takes_its_runs_along(runs: Runs, editor: DatasetEditor) -> None:
    first, second = finished_run(runs, [0.1, 0.3], wrong=[1]), finished_run(runs, [0.1, 0.2], wrong=[2])
    before = runs.get(first)
    renamed = editor.rename("shapes100", "forms")
    assert renamed.name == "forms"
    assert names(runs) == ["forms"]
    assert [record.name for record in list_records(runs.settings.datasets)] == ["forms"]
    after = runs.get(first)
    assert after.dataset == after.train_spec.dataset.name == "forms"
    spec = before.train_spec
    assert after.train_spec == spec.model_copy(update={"dataset": spec.dataset.model_copy(update={"name": "forms"})})
    datasets = Datasets(runs.settings.datasets)
    assert datasets.trained_on(after.train_spec.dataset).name == "forms"
    assert [run.id for run in runs.list(RunQuery(dataset="forms")).items] == [second, first]
    (row,) = results(runs.database, datasets, "forms", 10).rows
    assert row.count == 2
    with pytest.raises(ApiError):
        results(runs.database, datasets, "shapes100", 10)
    # A run that is launched now counts as of the same data: its duration is estimated from the runs before.
    new = runs.get(launch(runs, "forms"))
    assert measured(new.train_spec, [Pace(after.train_spec, 2.0)]) in (2.0, None)
    clone = Launcher(runs.database, runs.settings).clone(first, CloneRequest())
    assert (clone.dataset, clone.train_spec) == ("forms", after.train_spec)


def test_a_run_is_resumed_on_a_renamed_dataset(runs: Runs, editor: DatasetEditor) -> None:
    run = finished_run(runs, [0.1, 0.3])
    editor.rename("shapes100", "forms")
    editor.rename("forms", "figures")
    runs.resume(run, ResumeRequest(extend_epochs=1))
    spec = read_spec(runs.folder(run))
    assert spec.dataset.name == "figures"
    # Predictions name the dataset as it is called now, from the run's own copy of its record.
    assert run_record(runs.settings.datasets, runs.folder(run), spec).name == "figures"
    import torch

    assert len(load_resident(runs.settings.datasets, spec, torch.device("cpu")).train.labels) == 4000


def test_names_that_are_taken_or_no_names(runs: Runs, editor: DatasetEditor) -> None:
    (runs.settings.datasets / "taken").mkdir()
    (runs.settings.datasets / "link").symlink_to("nowhere")
    for name in ("taken", "link"):
        with pytest.raises(ApiError) as refused:
            editor.rename("shapes100", name)
        assert (refused.value.status, refused.value.code) == (409, "name_taken")
    for name in ("", "..", ".hidden", "a/b", "a b", "x" * 100):
        with pytest.raises(BadName):
            editor.rename("shapes100", name)
    with pytest.raises(DatasetMissing):
        editor.rename("none", "other")
    assert editor.rename("shapes100", "shapes100").name == "shapes100"
    assert names(runs) == ["link", "shapes100", "taken"]


def test_runs_on_an_earlier_dataset_of_the_name_keep_it(runs: Runs, editor: DatasetEditor) -> None:
    old = finished_run(runs, [0.1])
    editor.delete("shapes100")
    make_shapes100(runs.settings.datasets, train_per_class=20, test_per_class=2)
    new = finished_run(runs, [0.1])
    datasets = Datasets(runs.settings.datasets)
    assert datasets.found_for(runs.get(old).train_spec.dataset) is None
    assert datasets.found_for(runs.get(new).train_spec.dataset) is not None
    with pytest.raises(ApiError) as refused:
        runs.resume(old, ResumeRequest(extend_epochs=1))
    assert (refused.value.status, refused.value.code) == (409, "dataset_changed")
    editor.rename("shapes100", "forms")
    assert (runs.get(old).dataset, runs.get(new).dataset) == ("shapes100", "forms")


def test_a_rename_is_in_the_run_directories_too(runs: Runs, editor: DatasetEditor) -> None:
    run = finished_run(runs, [0.1, 0.3])
    editor.rename("shapes100", "forms")
    editor.delete("forms")
    runs.database.close()
    delete_database(runs.settings)
    assert [item.status for item in reindex(runs.settings)] == [Status.FINISHED]
    assert runs.get(run).dataset == "forms"


@pytest.mark.parametrize("at", ["renamed", "rows", "journaled"])
def test_a_rename_that_was_killed_is_finished(runs: Runs, editor: DatasetEditor, at: str) -> None:
    """The process is killed by SIGKILL after the folder was renamed, after the rows, or before the last file."""
    run = finished_run(runs, [0.1, 0.3])
    command = [sys.executable, "-m", "tests.app.datasets.killed_rename", str(runs.settings.home), at]
    environment = {**os.environ, **home_environment(runs.settings.home)}
    assert subprocess.run(command, env=environment, check=False).returncode == -signal.SIGKILL
    assert names(runs) == ["forms"]
    assert read_record(runs.settings.datasets, "forms").name == "forms"
    if at != "renamed":  # before anything is mended
        runs.resume(run, ResumeRequest(extend_epochs=1))
        assert read_spec(runs.folder(run)).dataset.name == "forms"
        put(runs, run, Status.FINISHED)
    editor.finish_renames()
    assert runs.get(run).dataset == read_spec(runs.folder(run)).dataset.name == "forms"
    stored = (runs.settings.datasets / "forms" / "dataset.json").read_text()
    assert '"name": "forms"' in stored
    journal = (runs.folder(run) / "meta.jsonl").read_bytes()
    editor.finish_renames()
    assert (runs.folder(run) / "meta.jsonl").read_bytes() == journal


def test_a_launch_that_was_prepared_before_a_deletion_is_refused(runs: Runs, editor: DatasetEditor) -> None:
    launcher = Launcher(runs.database, runs.settings)
    request = NewRun.model_validate({"dataset": "shapes100", "preset": "baseline-cnn"})
    ready = launcher.prepare(request)
    editor.delete("shapes100")
    with pytest.raises(SpecError):
        launcher.queue(request, ready)
    assert list(runs.settings.runs.iterdir()) == []
    assert runs.count() == 0
