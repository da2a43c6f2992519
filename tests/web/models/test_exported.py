"""Exported models and ensembles: their predictions equal those of the predictor."""

from __future__ import annotations

import csv
import io
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import onnx
import pytest
import torch

from app.commands.predict import predict_here
from app.host.workers import seen_workers
from app.settings import Settings
from app.storage.db import Database
from app.storage.tables import Checkpoint, Run, Status
from tests.app.predictor.predict_home import (
    CLASSES,
    SUPERCLASSES,
    encode,
    make_dataset,
    make_run,
    random_image,
    running_predictor,
    settings_for,
)
from tests.conftest import Server, wait_for
from tests.web.predict.serving import serving
from tests.web.predict.test_predict import assert_error, post
from trainer.data.format import open_split
from trainer.data.splits import stratified_split
from trainer.exported.portable import METADATA, Portable, PortableDamaged, plan_packing, read_portable, write_packing
from trainer.inference.onnx_export import export_onnx, run_onnx
from trainer.inference.rebuild import open_file
from trainer.models.build import build_model
from trainer.models.checkpoint import save
from trainer.rundir.calibration import Calibration, Reliability, write_calibration
from trainer.rundir.checkpoints import list_checkpoints
from trainer.rundir.folder import RunDir
from trainer.rundir.spec import read_spec
from trainer.spec.dataset_spec import DatasetSpec
from trainer.spec.model_spec import ModelSpec
from trainer.spec.train_spec import TrainSpec

FIRST, SECOND, THIRD, COARSE, OTHER, EMPTY = (f"{word:0<10}" for word in ("f1", "5ec0", "74", "c0a45e", "07", "e3"))
IMAGES = [random_image(seed) for seed in range(6)]
PNGS = [encode(image) for image in IMAGES]


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    home = tmp_path_factory.mktemp("home")
    make_dataset(home)
    for split, count in (("train", 240), ("test", 12)):
        np.save(home / "datasets" / "tiny" / f"{split}.images.npy", np.stack([random_image(i) for i in range(count)]))
        np.save(home / "datasets" / "tiny" / f"{split}.labels.npy", np.arange(count, dtype=np.int64) % len(CLASSES))
    record = json.loads((home / "datasets" / "tiny" / "dataset.json").read_text()) | {"train_count": 240}
    (home / "datasets" / "tiny" / "dataset.json").write_text(json.dumps(record))
    make_run(home, FIRST)
    make_run(home, SECOND, steps=(20,))
    make_run(home, THIRD, steps=(30,), model="mlp")
    make_run(home, COARSE, target="coarse")
    make_run(home, OTHER)
    make_run(home, EMPTY, steps=())
    nothing = Reliability(ece=0.2, low=0.1, high=0.3, overconfidence=0.2, bins=[])
    write_calibration(
        home / "runs" / FIRST, Calibration(step=10, temperature=2.5, images=24, before=nothing, after=nothing)
    )
    return settings_for(home, max_images=8)


@pytest.fixture(scope="module")
def database(settings: Settings) -> Iterator[Database]:
    database = Database(settings.url)
    database.migrate()
    for run_id in (FIRST, SECOND, THIRD, COARSE, OTHER, EMPTY):
        spec = read_spec(settings.runs / run_id).model_dump(mode="json")
        if run_id == OTHER:
            spec |= {"seed": 7}
        with database.write() as session:
            run = Run(
                id=run_id, name=run_id, dataset="tiny", model="cnn", spec=spec, status=Status.STOPPED,
                summary={"test/acc": 0.25}, best_step=10, best_acc=0.5, val_count=24,
            )  # fmt: skip
            session.add(run)
            session.flush()
            for info in list_checkpoints(settings.runs / run_id):
                metrics = {"val/acc": 0.5, "val/loss": 2.5}
                kept = info.model_dump() | {"metrics": metrics, "run": run.key}
                session.add(Checkpoint(**kept))
    yield database
    database.close()


@pytest.fixture(scope="module")
def client(settings: Settings, database: Database) -> Iterator[httpx.Client]:
    with (
        running_predictor(settings),
        serving(settings) as address,
        httpx.Client(base_url=address, timeout=60) as client,
    ):
        yield client


def ask(client: httpx.Client, model: str, pngs: list[bytes] = PNGS) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Return the probabilities from /api/predict, float64 of shape (images, classes)."""
    answer = client.post(f"/api/predict?model={model}&top_k=12", files=[("file", png) for png in pngs])
    assert answer.status_code == 200, answer.text
    rows = np.zeros((len(pngs), len(CLASSES)))
    for row, result in zip(rows, answer.json()["results"], strict=True):
        for item in result["predictions"]:
            row[item["index"]] = item["probability"]
    return rows


@pytest.fixture
def taken(client: httpx.Client, tmp_path: Path) -> Path:
    path = tmp_path / "taken.safetensors"
    path.write_bytes(client.get(f"/api/models/{FIRST}/file").content)
    return path


def test_an_alias_is_removed_on_the_page_and_its_run_stays(client: httpx.Client) -> None:
    client.put("/api/models/spare", json={"run": FIRST}).raise_for_status()
    assert "Remove the alias spare" in client.get("/models").text
    answer = client.post("/models/spare/remove")
    assert (answer.status_code, answer.headers["location"]) == (303, "/models")
    assert_error(client.get("/api/models/spare"), 404)
    assert client.get(f"/api/runs/{FIRST}").status_code == 200


def test_a_file_alone_answers_as_the_run_does(client: httpx.Client, settings: Settings, taken: Path) -> None:
    about = read_portable(taken)
    (info,) = list_checkpoints(settings.runs / FIRST)
    assert (about.run, about.step, about.checkpoint_sha256) == (FIRST, 10, info.sha256)
    assert (about.classes, about.superclasses) == (CLASSES, [SUPERCLASSES[i % 3] for i in range(12)])
    assert (about.size, about.fit, about.measured) == (32, "crop", {"val/acc": 0.5, "val/loss": 2.5})
    classifier, _ = open_file(taken, torch.device("cpu"))
    found = classifier.calibrated(classifier.probabilities(np.stack(IMAGES)))
    assert found.numpy() == pytest.approx(ask(client, FIRST), abs=1e-5)
    assert classifier.predict(np.stack(IMAGES), 1)[0][0].superclass in SUPERCLASSES


def test_a_calibrated_model_answers_with_its_temperature(client: httpx.Client, taken: Path) -> None:
    assert read_portable(taken).temperature == 2.5
    plain = client.post(f"/api/predict?model={FIRST}&top_k=12&calibrated=false", files={"file": PNGS[0]}).json()
    found = client.post(f"/api/predict?model={FIRST}&top_k=12", files={"file": PNGS[0]}).json()
    other = client.post(f"/api/predict?model={SECOND}", files={"file": PNGS[0]}).json()
    assert (plain["calibrated"], found["calibrated"], other["calibrated"]) == (False, True, False)
    logits = np.log([item["probability"] for item in plain["predictions"]])
    expected = np.exp(logits / 2.5) / np.exp(logits / 2.5).sum()
    assert [item["index"] for item in found["predictions"]] == [item["index"] for item in plain["predictions"]]
    assert [item["probability"] for item in found["predictions"]] == pytest.approx(expected.tolist(), abs=1e-5)


def test_a_threshold_says_when_a_model_is_not_sure(client: httpx.Client, settings: Settings) -> None:
    def decisions(**query: Any) -> list[str | None]:
        params = {"model": SECOND, **query}
        answer = client.post("/api/predict", params=params, files=[("file", png) for png in PNGS])
        assert not answer.json()["cold"] or not query
        return [item.get("decision") for item in answer.json()["results"]]

    assert decisions() == [None] * len(PNGS)
    highest = [row.max() for row in ask(client, SECOND)]
    middle = float(np.median(highest))
    put = client.put(f"/api/models/{SECOND}/threshold", json={"threshold": middle})
    assert put.json() == {"threshold": middle}
    assert decisions(top_k=1) == ["accept" if value >= middle else "unsure" for value in highest]
    assert decisions(calibrated="false") == [None] * len(PNGS)
    one = client.post(f"/api/predict?model={SECOND}", files={"file": PNGS[0]}).json()
    assert one["decision"] == ("accept" if highest[0] >= middle else "unsure")
    answer = client.post(f"/models/{SECOND}/threshold", data={"threshold": ""})
    assert (answer.status_code, answer.headers["location"]) == (303, f"/models/{SECOND}#threshold")
    assert decisions(top_k=1) == [None] * len(PNGS)
    for body in ({"threshold": 1.5}, {"threshold": "x"}, {}, {"threshold": 0.5, "more": 1}):
        assert_error(client.put(f"/api/models/{SECOND}/threshold", json=body), 422)
    assert_error(client.put("/api/models/nothing/threshold", json={"threshold": 0.5}), 404)
    client.put("/api/models/pair", json={"runs": [FIRST, SECOND]}).raise_for_status()
    assert_error(client.put("/api/models/pair/threshold", json={"threshold": 0.5}), 409)
    client.delete("/api/models/pair").raise_for_status()


def test_the_command_line_classifies_with_a_file(client: httpx.Client, settings: Settings, taken: Path) -> None:
    picture, out = taken.with_name("a.png"), io.StringIO()
    picture.write_bytes(PNGS[0])
    predict_here(settings, str(taken), [picture], 3, out)
    rows = list(csv.DictReader(io.StringIO(out.getvalue())))
    expected = post(client, PNGS[0], model=FIRST, top_k=3).json()["predictions"]
    assert [row["label"] for row in rows] == [item["label"] for item in expected]
    broken = taken.with_name("broken.safetensors")
    broken.write_bytes(b"\xff" * 100)
    with pytest.raises(LookupError, match="not a safetensors file"):
        predict_here(settings, str(broken), [picture], 3, out)


def test_it_is_written_once_and_served_in_parts(client: httpx.Client, settings: Settings, taken: Path) -> None:
    (kept,) = (settings.model_cache / FIRST).glob("*.safetensors")
    written = kept.stat().st_mtime_ns
    part = client.get(f"/api/models/{FIRST}/file", headers={"Range": "bytes=8-15"})
    assert (part.status_code, part.content) == (206, taken.read_bytes()[8:16])
    assert_error(client.get(f"/api/models/{FIRST}/file", headers={"Range": "bytes=999999999-"}), 416)
    assert kept.stat().st_mtime_ns == written
    assert client.get(f"/models/{FIRST}").text.count(f"/api/models/{FIRST}/file") == 1


def test_nothing_to_take_away(client: httpx.Client) -> None:
    for path, status in ((f"{EMPTY}/file", 409), ("none/file", 404), (f"{EMPTY}/onnx", 409), ("none/onnx", 404)):
        assert_error(client.get(f"/api/models/{path}"), status)


def test_a_file_that_names_code_runs_none(taken: Path) -> None:
    """A custom network is an imported function: a model file from elsewhere must not be able to choose it."""
    about = read_portable(taken)
    own = about.model_copy(update={"model": ModelSpec(name="tests.canary:build")})
    data = taken.read_bytes()
    length = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + length])
    header["__metadata__"][METADATA] = own.model_dump_json()
    text = json.dumps(header).encode()
    taken.write_bytes(len(text).to_bytes(8, "little") + text + data[8 + length :])
    with pytest.raises(PortableDamaged, match="custom_models"):
        open_file(taken, torch.device("cpu"))
    assert "tests.canary" not in sys.modules


def test_other_networks_as_onnx(tmp_path: Path) -> None:
    """Two networks with another input size than the dataset's, and their ensemble, which is one ONNX graph."""
    files = []
    for name, widths, size in (("mlp", (8,), 40), ("swift", (8,), 24)):
        spec = TrainSpec(dataset=DatasetSpec(name="none"), model=ModelSpec(name=name, widths=widths, input_size=size))
        model = {
            f"model.{key}": value for key, value in build_model(spec.model, len(CLASSES), size).state_dict().items()
        }
        optimizer_state = {"optim.momentum": torch.zeros(100_000)}
        (tmp_path / name).mkdir()
        info = save(tmp_path / name, optimizer_state | model, {}, step=5, epoch=0, metrics={}, best=True)
        about = Portable(
            model=spec.model, classes=CLASSES, superclasses=None, size=32, input_size=size, fit="crop",
            mean=(0.5, 0.45, 0.4), std=(0.25, 0.24, 0.23), dataset="none", target="fine", run=name, step=5, epoch=0,
            checkpoint_sha256=info.sha256, measured={},
        )  # fmt: skip
        checkpoint, file = RunDir(tmp_path / name).weights(5), tmp_path / f"{name}.safetensors"
        write_packing(checkpoint, info.sha256, plan_packing(checkpoint, about), file)
        assert file.stat().st_size < info.size - 300_000
        files.append(file)
    target = tmp_path / "both.onnx"
    report = export_onnx(files, tmp_path, target, lambda *_: None)
    assert (report.checked_on, report.same_answers) == ("noise", report.images)
    assert report.largest_difference < 1e-4
    each = [open_file(file, torch.device("cpu"))[0].probabilities(np.stack(IMAGES)).numpy() for file in files]
    assert run_onnx(target.read_bytes(), np.stack(IMAGES)) == pytest.approx(np.mean(each, 0), abs=1e-4)


@pytest.fixture(scope="module")
def worker(settings: Settings, database: Database) -> Iterator[Server]:
    server = Server(settings.home, settings)
    server.start("worker")
    wait_for(lambda: seen_workers(database), what="the worker")
    yield server
    server.close()


def test_what_has_to_be_installed_is_said(client: httpx.Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxscript", None)  # as if it were not installed
    answer = client.post(f"/api/models/{SECOND}/onnx")
    assert_error(answer, 501)
    assert "pip install" in answer.json()["error"]["message"]
    assert "ONNX needs onnxscript" in client.get(f"/models/{SECOND}").text


def test_without_a_worker_nothing_is_exported(client: httpx.Client) -> None:
    assert_error(client.post(f"/api/models/{FIRST}/onnx"), 503)


def test_onnx_answers_as_predict_does(client: httpx.Client, worker: Server) -> None:
    before = client.get("/api/tasks").json()
    assert "data-onnx-export" in client.get(f"/models/{FIRST}").text
    assert_error(client.get(f"/api/models/{FIRST}/onnx"), 409)
    assert client.get("/api/tasks").json() == before  # looking has no effect
    begun = client.post(f"/api/models/{FIRST}/onnx")
    assert begun.status_code == 202
    assert begun.headers["location"] == f"/api/tasks/{begun.json()['task']['id']}"

    def exported() -> httpx.Response | None:
        answer = client.get(f"/api/models/{FIRST}/onnx")
        assert answer.status_code in (200, 503), answer.text
        return answer if answer.status_code == 200 else None

    answer = wait_for(exported, 240, "the export")
    assert answer is not None
    assert 0 <= float(answer.headers["onnx-largest-difference"]) < 1e-4
    found, expected = run_onnx(answer.content, np.stack(IMAGES)), ask(client, FIRST)
    assert found == pytest.approx(expected, abs=1e-4)
    assert found.argmax(1).tolist() == expected.argmax(1).tolist()
    kept = {item.key: item.value for item in onnx.load_from_string(answer.content).metadata_props}
    assert json.loads(kept[METADATA])["classes"] == CLASSES
    assert kept["checked_on"] == "12 test images"
    assert "on 12 test images, the likeliest class the same on all" in client.get(f"/models/{FIRST}").text
    assert client.post(f"/api/models/{FIRST}/onnx").json() == {"task": None}
    tasks = client.get("/api/tasks").json()
    assert client.get(f"/api/models/{FIRST}/onnx", headers={"Range": "bytes=0-9"}).content == answer.content[:10]
    assert client.get("/api/tasks").json() == tasks


def test_an_ensemble_answers_with_the_mean(client: httpx.Client) -> None:
    members = [FIRST, SECOND, THIRD]
    alone = [ask(client, run) for run in members]
    moves: tuple[tuple[dict[str, Any], list[Any]], ...] = (
        ({"run": FIRST}, alone[:1]), ({"runs": members}, alone), ({"runs": [THIRD]}, alone[2:]),
        ({"runs": [SECOND, FIRST]}, alone[:2]),
    )  # fmt: skip
    for body, expected in moves:
        assert client.put("/api/models/production", json=body).status_code == 200
        assert ask(client, "production") == pytest.approx(np.mean(expected, 0), abs=1e-5)
    model = post(client, PNGS[0], model="production").json()["model"]
    assert (model["members"], "step" in model) == ([SECOND, FIRST], False)
    assert "members" not in post(client, PNGS[0], model=FIRST).json()["model"]
    history = client.get("/api/models/production").json()["history"]
    assert [move["runs"] for move in history] == [[SECOND, FIRST], [THIRD], members, [FIRST]]
    assert [move["run"] for move in history] == [None, THIRD, None, FIRST]
    assert_error(client.delete(f"/api/runs/{SECOND}"), 409)
    assert_error(client.get("/api/models/production/file"), 409)
    for path in ("/models", "/predict?model=production", f"/compare?runs={FIRST},{SECOND}"):
        page = client.get(path)
        assert (page.status_code, "ensemble" in page.text) == (200, True), path
    assert client.delete("/api/models/production").status_code == 204


def test_an_ensemble_is_measured_where_all_held_the_same_out(
    client: httpx.Client, settings: Settings, worker: Server
) -> None:
    named = client.post("/models", data={"name": "both", "run": f"{FIRST},{SECOND}"})
    assert (named.status_code, named.headers["location"]) == (303, "/models/both")

    def measured() -> str | None:
        text = client.get("/models/both").text
        return text if "together" in text else None

    before = client.get("/api/tasks").json()
    assert "Not measured yet" in client.get("/models/both").text
    assert client.get("/api/tasks").json() == before  # looking has no effect
    assert client.post("/models/both/measure").status_code == 303
    page = wait_for(measured, what="the measuring") or ""
    images, labels = open_split(settings.datasets, "tiny", "train")
    rows = stratified_split(labels, 0.1, 0)[1]
    assert len(rows) == 24
    held_out = [encode(images[row]) for row in rows]
    answers = np.concatenate([ask(client, "both", held_out[at : at + 8]) for at in range(0, 24, 8)])
    assert f"<b>{100 * np.mean(answers.argmax(1) == labels[rows]):.1f}%</b>" in page
    assert client.put("/api/models/both", json={"runs": [FIRST, OTHER]}).status_code == 200
    assert "held out different images" in client.get("/models/both").text
    client.delete("/api/models/both")


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"runs": []}, 422),
        ({}, 422),
        ({"run": FIRST, "runs": [SECOND]}, 422),
        ({"runs": [FIRST] * 20}, 422),
        ({"runs": [FIRST, COARSE]}, 422),
        ({"runs": [FIRST, "none"]}, 404),
        ({"runs": [FIRST, EMPTY]}, 409),
        ({"runs": "f1"}, 422),
    ],
)
def test_ensembles_that_cannot_be(client: httpx.Client, body: dict[str, Any], status: int) -> None:
    assert_error(client.put("/api/models/production", json=body), status)
    assert_error(client.get("/api/models/production"), 404)


def test_a_deleted_run_leaves_no_files(client: httpx.Client, settings: Settings) -> None:
    assert client.get(f"/api/models/{COARSE}/file").status_code == 200
    assert any((settings.model_cache / COARSE).iterdir())
    assert client.delete(f"/api/runs/{COARSE}").status_code == 204
    assert not (settings.model_cache / COARSE).exists()
