"""Every way to classify an image gives the probabilities of the trainer's evaluation.

With TRACKSIDE_TEST_DATASETS=FOLDER, this uses 1,000 images of the CIFAR-100 in that folder, and also tests ONNX.
"""

from __future__ import annotations

import csv
import io
import os
import zipfile
from collections import defaultdict
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import torch

from tests.app.predictor.predict_home import encode
from tests.conftest import NARROW, Server, wait_for
from trainer.data.format import Images, open_split
from trainer.inference.ensemble import open_runs
from trainer.inference.onnx_export import run_onnx

REAL = os.environ.get("TRACKSIDE_TEST_DATASETS")
DATASET, COUNT = ("cifar100", 1000) if REAL else ("shapes100", 48)
CLASSES, AT_ONCE = 100, 48
ABSOLUTE = 1e-4

Rows = np.ndarray[Any, np.dtype[np.float64]]


@pytest.mark.timeout(600)
def test_every_path_gives_the_trainers_own_answers(server: Server) -> None:
    if REAL:
        (server.home / "datasets").unlink()
        (server.home / "datasets").symlink_to(Path(REAL).resolve())
    server.start("web", "worker", "predictor")
    overrides = {"checks": "off", "max_steps": 300} if REAL else {**NARROW, "max_steps": 20}
    run_id = server.launch(dataset=DATASET, overrides=overrides)
    server.wait_status(run_id, "finished", seconds=300)
    images = np.array(open_split(server.settings.datasets, DATASET, "test")[0][:COUNT])
    classifier, _ = open_runs([server.settings.runs / run_id], server.settings.datasets, torch.device("cpu"))
    parts = [classifier.probabilities(images[at : at + 250]) for at in range(0, COUNT, 250)]
    expected = classifier.calibrated(torch.cat(parts)).numpy()
    files = [encode(image) for image in images]
    with server.client() as client:
        answers = {
            "one": by_one(client, run_id, files),
            "raw": by_raw(client, run_id, files),
            "many": by_many(client, run_id, files),
            "v2": by_v2(client, run_id, images),
            "zip": by_zip(client, run_id, files),
        }
        if REAL:
            assert client.post(f"/api/models/{run_id}/onnx").status_code == 202
            model = client.get(f"/api/models/{run_id}/onnx", timeout=60).raise_for_status().content
            answers["ONNX"] = np.asarray(run_onnx(model, images), np.float64)
    for path, rows in answers.items():
        assert np.abs(rows - expected).max() < ABSOLUTE, path
        # Two classes with equal probabilities may swap their ranks.
        ordered = np.sort(expected, 1)
        clear = ordered[:, -1] - ordered[:, -2] > ABSOLUTE
        assert (rows.argmax(1) == expected.argmax(1))[clear].all(), path


def row_of(predictions: list[dict[str, Any]]) -> list[float]:
    row = [0.0] * CLASSES
    for item in predictions:
        row[item["index"]] = item["probability"]
    return row


def ask(client: httpx.Client, run_id: str, **sent: Any) -> Any:
    return client.post("/api/predict", params={"model": run_id, "top_k": CLASSES}, **sent).raise_for_status().json()


def by_one(client: httpx.Client, run_id: str, files: list[bytes]) -> Rows:
    return np.array([row_of(ask(client, run_id, files={"file": data})["predictions"]) for data in files])


def by_raw(client: httpx.Client, run_id: str, files: list[bytes]) -> Rows:
    kind = {"content-type": "image/png"}
    return np.array([row_of(ask(client, run_id, content=data, headers=kind)["predictions"]) for data in files])


def by_many(client: httpx.Client, run_id: str, files: list[bytes]) -> Rows:
    found = []
    for at in range(0, COUNT, AT_ONCE):
        results = ask(client, run_id, files=[("file", data) for data in files[at : at + AT_ONCE]])["results"]
        found += [row_of(result["predictions"]) for result in results]
    return np.array(found)


def by_v2(client: httpx.Client, run_id: str, images: Images) -> Rows:
    found = []
    for at in range(0, COUNT, AT_ONCE):
        some = images[at : at + AT_ONCE]
        tensor = {"name": "image", "shape": some.shape, "datatype": "UINT8", "data": some.ravel().tolist()}
        answer = client.post(f"/v2/models/{run_id}/infer", json={"inputs": [tensor]}).raise_for_status().json()
        found.append(np.reshape(answer["outputs"][0]["data"], answer["outputs"][0]["shape"]))
    return np.concatenate(found)


def by_zip(client: httpx.Client, run_id: str, files: list[bytes]) -> Rows:
    upload = io.BytesIO()
    with zipfile.ZipFile(upload, "w") as archive:
        for number, data in enumerate(files):
            archive.writestr(f"{number}.png", data)
    form = {"model": run_id, "top_k": str(CLASSES)}
    sent = client.post("/api/predict/batch", data=form, files={"file": ("images.zip", upload.getvalue())})
    task = sent.raise_for_status().json()["id"]
    wait_for(lambda: client.get(f"/api/tasks/{task}").json()["status"] == "finished", 120, "the task")
    classes = client.get(f"/api/datasets/{DATASET}").json()["classes"]
    found: dict[int, dict[str, float]] = defaultdict(dict)
    for row in csv.DictReader(io.StringIO(client.get(f"/api/tasks/{task}/file").text)):
        found[int(row["file"].removesuffix(".png"))][row["label"]] = float(row["probability"])
    return np.array([[found[number][name] for name in classes] for number in range(COUNT)])
