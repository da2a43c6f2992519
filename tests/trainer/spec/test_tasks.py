"""task.json: what is written, and that files of other versions are read and done."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson
import pytest
from pydantic import ValidationError

from tests.trainer.data.pictures import tree, write_zip
from trainer.data.format import read_record
from trainer.rundir.events import Event, read_from
from trainer.spec.preset import build_spec
from trainer.spec.tasks import (
    AnyRequest,
    DatasetRequest,
    ExportRequest,
    MeasureRequest,
    Places,
    PredictRequest,
    read_task_file,
    request_of_file,
    task_file,
)
from trainer.tasks import run_task

PLACES = {"datasets": "/home/datasets", "runs": "/home/runs"}
UPLOAD = "/home/tasks/0/upload.zip"
DATASET = {"name": "birds", "source": "shapes100", "size": None, "fit": "pad", "on_unreadable": "skip"}
FILES = {"files": ["/cache/a.safetensors", "/cache/b.safetensors"], "target": "/cache/made"}
SPEC = build_spec("birds", "quick", {"seed": 3}).model_dump(mode="json")
ASKED = {"model": "latest", "top_k": 5, "run": "0123456789", "device": "cpu", "source": UPLOAD, "label": "photos.zip"}


@pytest.mark.parametrize(
    ("kind", "shown", "expected"),
    [
        ("dataset", DATASET, DatasetRequest),
        ("dataset", DATASET | {"source": UPLOAD, "size": 32, "label": "birds.zip"}, DatasetRequest),
        ("export", FILES | {"custom_models": ["a:b"]}, ExportRequest),
        ("measure", FILES | {"spec": SPEC, "custom_models": []}, MeasureRequest),
        ("predict", ASKED | {"members": ["0123456789"]}, PredictRequest),
    ],
)
def test_what_is_written_is_what_was_given(kind: str, shown: dict[str, Any], expected: type[AnyRequest]) -> None:
    stored = shown | {"kind": kind} | PLACES
    request, places = read_task_file(orjson.dumps(stored))
    assert type(request) is expected
    assert (request.kind, request.as_dict()) == (kind, shown)
    assert places == Places(datasets=Path("/home/datasets"), runs=Path("/home/runs"))
    assert orjson.loads(task_file(request, places)) == stored
    assert request_of_file(task_file(request, places)) == (kind, shown)


def test_what_another_version_lacks_is_the_default_and_what_it_adds_is_ignored() -> None:
    short: list[dict[str, Any]] = [
        {"kind": "dataset", "name": "birds", "source": "shapes100"},
        {"kind": "export", **FILES},
        {"kind": "measure", "spec": {"dataset": {"name": "birds"}}, **FILES},
        {"kind": "predict", **ASKED},
    ]
    found = [read_task_file(orjson.dumps({**stored, "hint": 1, **PLACES}))[0] for stored in short]
    dataset, export, measure, predict = found
    assert isinstance(dataset, DatasetRequest)
    assert (dataset.size, dataset.fit, dataset.on_unreadable, dataset.label) == (None, "crop", "refuse", None)
    assert isinstance(export, ExportRequest)
    assert export.custom_models == ()
    assert isinstance(measure, MeasureRequest)
    assert (measure.custom_models, measure.spec.val_fraction) == ((), 0.1)
    assert isinstance(predict, PredictRequest)
    assert predict.members == ()
    for stored, request in zip(short, found, strict=True):
        assert {**request.as_dict(), "kind": stored["kind"]} == stored
        # Where the database is rebuilt, the request is shown as it was.
        kept = {name: value for name, value in stored.items() if name != "kind"}
        assert request_of_file(orjson.dumps({**stored, "hint": 1, **PLACES})) == (stored["kind"], kept | {"hint": 1})


@pytest.mark.parametrize("stored", [{}, {"kind": "cook"}, {"kind": "dataset", "source": "shapes100"}, [1]])
def test_what_is_no_request(stored: Any) -> None:
    for read in (read_task_file, request_of_file):
        with pytest.raises(ValidationError):
            read(orjson.dumps(stored))


def run(task_dir: Path, stored: dict[str, Any]) -> tuple[int, Event]:
    """The process's exit status, and the `end` event."""
    (task_dir / "events").mkdir(parents=True)
    (task_dir / "task.json").write_bytes(orjson.dumps(stored))
    status = run_task(task_dir, 1)
    return status, read_from(task_dir / "events" / "1.jsonl", 0)[0][-1]


def test_a_dataset_is_added_and_its_upload_deleted(tmp_path: Path) -> None:
    upload = write_zip(tmp_path / "upload.zip", tree("train/cat", "train/dog", each=3))
    places = {"datasets": str(tmp_path / "datasets"), "runs": str(tmp_path / "runs")}
    shown = {"name": "pets", "source": str(upload), "label": "photos.zip", "hint": 1}
    status, end = run(tmp_path / "task", {**shown, "kind": "dataset", **places})
    assert (status, end["reason"], end["result"]["dataset"]) == (0, "finished", "pets")
    assert read_record(tmp_path / "datasets", "pets").source == "photos.zip"
    assert not upload.exists()


@pytest.mark.parametrize(
    "stored", [{"kind": "cook", **PLACES}, {"kind": "dataset", "name": "x", "source": "shapes100"}]
)
def test_what_cannot_be_read_ends_as_failed(tmp_path: Path, stored: dict[str, Any]) -> None:
    status, end = run(tmp_path / "task", stored)
    assert (status, end["reason"], end["error"]["code"]) == (1, "failed", "trainer_error")
