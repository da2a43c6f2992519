from __future__ import annotations

import json
import re
import select
import socket
import zipfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from itertools import chain
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import sqlmodel
import torch
from PIL import Image

from app.settings import Settings
from app.storage.db import Database
from app.storage.tables import Checkpoint, Run, Status
from app.web.upload_memory import IMAGES_IN_MEMORY
from tests.app.predictor.predict_home import (
    CLASSES,
    SUPERCLASSES,
    add_checkpoint,
    add_row,
    encode,
    make_dataset,
    make_run,
    random_image,
    running_predictor,
    serving_child,
    settings_for,
)
from tests.conftest import wait_for
from tests.web.predict.serving import serving
from trainer.exported.labels import run_record
from trainer.inference.batch_predict import predict_files
from trainer.inference.classifier import load_best
from trainer.inference.ensemble import open_runs
from trainer.inference.image_files import open_paths
from trainer.inference.saliency import saliency
from trainer.rundir.answers import Answers, write_answers
from trainer.rundir.spec import read_spec

FINE, COARSE, EMPTY, MINE = "f13e000000", "c0a45e0000", "e3b7000000", "313e000000"
LIMIT, BODY_LIMIT = 300_000, 100_000
PNG = encode(random_image(0))


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    home = tmp_path_factory.mktemp("home")
    make_dataset(home)
    make_run(home, FINE)
    make_run(home, COARSE, target="coarse")
    make_run(home, EMPTY, steps=())
    make_run(home, MINE)
    return settings_for(home, max_image_bytes=LIMIT, max_body_bytes=BODY_LIMIT, max_images=8)


@pytest.fixture(scope="module")
def database(settings: Settings) -> Iterator[Database]:
    database = Database(settings.url)
    database.migrate()
    done = Status.FINISHED
    for run_id, status in ((COARSE, done), (FINE, done), (EMPTY, Status.RUNNING), (MINE, Status.RUNNING)):
        add_row(database, settings, run_id, status)
    yield database
    database.close()


@pytest.fixture(scope="module")
def client(settings: Settings, database: Database) -> Iterator[httpx.Client]:
    with (
        running_predictor(settings) as process,
        serving(settings) as address,
        httpx.Client(base_url=address, timeout=30) as client,
    ):
        client.headers["x-predictor"] = str(process.pid)
        yield client


def post(client: httpx.Client, data: bytes, *, model: str = FINE, name: str = "a.jpg", **query: Any) -> httpx.Response:
    return client.post("/api/predict", params={"model": model, **query}, files={"file": (name, data)})


def assert_error(response: httpx.Response, status: int) -> None:
    assert response.status_code == status, response.text
    assert set(response.json()["error"]) == {"code", "message", "detail"}


def test_one_image(client: httpx.Client) -> None:
    answer = post(client, PNG).json()
    assert set(answer) == {"model", "predictions", "calibrated", "cold", "timing_ms"}
    assert answer["model"]["run"] == FINE
    assert (answer["model"]["step"], answer["model"]["dataset"]) == (10, "tiny")
    assert set(answer["timing_ms"]) == {"queue", "load", "decode", "run"}
    assert len(answer["predictions"]) == 5
    for prediction in answer["predictions"]:
        assert prediction["label"] == CLASSES[prediction["index"]]
        assert prediction["superclass"] == SUPERCLASSES[prediction["index"] % 3]
    probabilities = [prediction["probability"] for prediction in answer["predictions"]]
    assert probabilities == sorted(probabilities, reverse=True)


def test_a_raw_body_is_the_same(client: httpx.Client) -> None:
    raw = client.post(f"/api/predict?model={FINE}", content=PNG, headers={"content-type": "image/png"})
    assert raw.json()["predictions"] == post(client, PNG).json()["predictions"]


def test_folders_and_zips_are_told_the_same(client: httpx.Client, settings: Settings, tmp_path: Path) -> None:
    pictures = {
        "a.jpg": encode(random_image(5, 90), "JPEG"),
        "b/c.png": encode(random_image(6)),
        "b/d.webp": encode(random_image(7, 50), "WEBP"),
        "b/e.gif": encode(Image.fromarray(random_image(8, 40)).quantize(32), "GIF"),
    }
    (tmp_path / "photos" / "b").mkdir(parents=True)
    with zipfile.ZipFile(tmp_path / "photos.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in pictures.items():
            (tmp_path / "photos" / name).write_bytes(data)
            archive.writestr(name, data)
    classifier, record = open_runs([settings.runs / FINE], settings.datasets, torch.device("cpu"))
    files = chain(*open_paths([tmp_path / "photos", tmp_path / "photos.zip"]))
    (results,) = predict_files(classifier, record, files, 12)
    found = {str(Path(result.name).relative_to(tmp_path)): result.predictions for result in results}
    assert len(found) == 8
    for name, data in pictures.items():
        remote = post(client, data, top_k=12).json()["predictions"]
        for place in ("photos", "photos.zip"):
            local = found[f"{place}/{name}"]
            assert [p["index"] for p in remote] == [p.index for p in local]
            assert [p["probability"] for p in remote] == pytest.approx([p.probability for p in local], abs=1e-4)


def test_many_images_in_their_order_each_with_its_own_error(client: httpx.Client) -> None:
    files = [("file", (f"{i}.png", encode(random_image(i)))) for i in range(4)]
    files[2] = ("file", ("<script>\u202e.svg", b"<svg xmlns='http://www.w3.org/2000/svg'/>"))
    answer = client.post(f"/api/predict?model={FINE}&top_k=1", files=files)
    assert answer.status_code == 200
    results = answer.json()["results"]
    assert [(r["index"], r["filename"]) for r in results] == [(i, files[i][1][0]) for i in range(4)]
    assert results[2]["error"]["code"] == "unsupported_image"
    for number in (0, 1, 3):
        alone = post(client, encode(random_image(number)), top_k=1).json()["predictions"][0]
        (found,) = results[number]["predictions"]
        assert (found["label"], found["probability"]) == (alone["label"], pytest.approx(alone["probability"], abs=1e-4))
        assert "error" not in results[number]


def test_latest_is_the_latest_finished_run_and_the_default(client: httpx.Client) -> None:
    assert post(client, PNG, model="latest").json()["model"]["run"] == FINE
    assert client.post("/api/predict", files={"file": PNG}).json()["model"]["run"] == FINE


def test_coarse_runs_label_with_superclasses(client: httpx.Client) -> None:
    predictions = post(client, PNG, model=COARSE).json()["predictions"]
    assert sorted(p["label"] for p in predictions) == sorted(SUPERCLASSES)
    assert all("superclass" not in p for p in predictions)


@pytest.mark.parametrize("top_k", ["0", "-1", "1001", "1e9", "x", ""])
def test_top_k_out_of_bounds(client: httpx.Client, top_k: str) -> None:
    assert_error(post(client, PNG, top_k=top_k), 422)


def test_top_k_beyond_the_classes_gives_all_of_them(client: httpx.Client) -> None:
    predictions = post(client, PNG, top_k=1000).json()["predictions"]
    assert len(predictions) == len(CLASSES)
    assert sum(p["probability"] for p in predictions) == pytest.approx(1, abs=1e-4)


@pytest.mark.parametrize("model", ["..", "%2e%2e%2f", "a\0b", "prod", ""])
def test_unknown_models(client: httpx.Client, model: str) -> None:
    assert_error(post(client, PNG, model=model), 404)


@pytest.mark.parametrize(
    ("kind", "body", "status"),
    [
        ("text/plain", PNG, 415),
        ("application/json", b"{}", 415),
        ("", PNG, 415),
        ("multipart/form-data", PNG, 400),
        ("multipart/form-data; boundary=x", b"", 400),
        ("multipart/form-data; boundary=x", b"--y\r\n", 400),
        ("multipart/form-data; boundary=x", b'--x\r\nContent-Disposition: form-data; name="file"\r\n\r\nabc', 400),
        ("multipart/form-data; boundary=x", b'--x\r\nContent-Disposition: form-data; name="a"\r\n\r\nb\r\n--x--', 422),
        ("multipart/form-data; boundary=" + "x" * 5000, b"", 400),
    ],
)
def test_bad_bodies(client: httpx.Client, kind: str, body: bytes, status: int) -> None:
    headers = {"content-type": kind} if kind else {}
    assert_error(client.post(f"/api/predict?model={FINE}", content=body, headers=headers), status)


def test_too_many_images(client: httpx.Client) -> None:
    assert_error(client.post(f"/api/predict?model={FINE}", files=[("file", PNG)] * 9), 413)


def test_a_body_that_ends_early_leaves_the_server_well(client: httpx.Client) -> None:
    with socket.create_connection((client.base_url.host, client.base_url.port or 80)) as connection:
        connection.sendall(
            b"POST /api/predict HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: image/png\r\nContent-Length: 99\r\n\r\nab"
        )
    assert post(client, PNG).status_code == 200


def test_uploads_held_in_memory_are_bounded(client: httpx.Client) -> None:
    head = (
        f"POST /api/predict HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: image/png\r\nContent-Length: {LIMIT}\r\n\r\n"
    )
    address = (client.base_url.host, client.base_url.port or 80)
    with ExitStack() as stack:
        unfinished = []
        for _ in range(IMAGES_IN_MEMORY + 4):
            connection = stack.enter_context(socket.create_connection(address))
            with suppress(ConnectionError):
                connection.sendall(head.encode() + bytes(LIMIT - 1))
            unfinished.append(connection)
        refused = 0
        while refused < 4:
            answered = select.select(unfinished, [], [], 10)[0]
            assert answered, "uploads over the limit were kept waiting"
            for connection in answered:
                answer = connection.recv(65536).lower()
                assert answer.startswith(b"http/1.1 503")
                assert b"retry-after" in answer
                unfinished.remove(connection)
                refused += 1
    wait_for(lambda: post(client, PNG).status_code == 200)


def test_a_killed_predictor_is_not_noticed(client: httpx.Client) -> None:
    before = post(client, PNG).json()["predictions"]
    serving_child(int(client.headers["x-predictor"])).kill()
    assert post(client, PNG).json()["predictions"] == before


def test_it_is_documented(client: httpx.Client) -> None:
    operation = client.get("/openapi.json").json()["paths"]["/api/predict"]["post"]
    assert {"multipart/form-data", "image/png"} <= set(operation["requestBody"]["content"])
    assert {"200", "404", "409", "413", "415", "422", "503"} <= set(operation["responses"])
    assert {parameter["name"] for parameter in operation["parameters"]} == {"model", "top_k", "calibrated"}
    assert json.dumps(operation).count("OnePrediction") == 1


def explain(client: httpx.Client, data: bytes, **query: Any) -> httpx.Response:
    return client.post("/api/predict/saliency", params={"model": FINE, **query}, files={"file": data})


def test_saliency_of_the_likeliest_class_and_of_another(client: httpx.Client, settings: Settings) -> None:
    top, second, *_ = post(client, PNG, top_k=12).json()["predictions"]
    answer = explain(client, PNG).json()
    assert set(answer) == {"model", "prediction", "fall", "strongest", "cold", "timing_ms"}
    assert answer["prediction"] == pytest.approx(top, abs=1e-4)
    assert (answer["model"]["run"], answer["model"]["step"]) == (FINE, 10)
    spec = read_spec(settings.runs / FINE)
    record = run_record(settings.datasets, settings.runs / FINE, spec)
    here = load_best(settings.runs / FINE, spec, record, torch.device("cpu"))
    for data in (answer, explain(client, PNG, **{"class": second["index"]}).json()):
        *_, local = saliency(here, random_image(0), data["prediction"]["index"])
        assert local is not None
        assert np.asarray(data["fall"]) == pytest.approx(local.drop, abs=1e-4)
        assert data["strongest"] == pytest.approx(vars(local.strongest), abs=1e-4)
        assert np.abs(local.drop).max() > 1e-3
    assert data["prediction"]["label"] == second["label"]


def test_saliency_is_refused_as_predictions_are(client: httpx.Client) -> None:
    for name, status in (("none", 404), (EMPTY, 409)):
        assert_error(explain(client, PNG, model=name), status)
    for index in ("-1", "12", "x", "1e9"):
        assert_error(explain(client, PNG, **{"class": index}), 422)
    two = client.post(f"/api/predict/saliency?model={FINE}", files=[("file", PNG)] * 2)
    assert_error(two, 422)
    large = encode(random_image(3, 250))
    assert BODY_LIMIT < len(large) < LIMIT
    assert explain(client, large).status_code == 200  # images have a separate size limit
    assert_error(explain(client, bytes(LIMIT + 1)), 413)
    headers = {"content-type": "image/png"}
    assert client.post(f"/api/predict/saliency?model={FINE}", content=PNG, headers=headers).status_code == 200
    operation = client.get("/openapi.json").json()["paths"]["/api/predict/saliency"]["post"]
    assert {"multipart/form-data", "image/png"} <= set(operation["requestBody"]["content"])
    assert {parameter["name"] for parameter in operation["parameters"]} == {"model", "class"}


def images_of_different_labels(client: httpx.Client, count: int) -> dict[str, bytes]:
    """Images by the label that each gets when it is sent alone."""
    found: dict[str, bytes] = {}
    for level in range(0, 256, 5):
        for channel in range(3):
            pixels = np.zeros((32, 32, 3), np.uint8)
            pixels[..., channel] = level
            pixels[:: 2 + level % 7] = 255 - level
            image = encode(pixels)
            found.setdefault(post(client, image, top_k=1).json()["predictions"][0]["label"], image)
            if len(found) == count:
                return found
    raise AssertionError(f"only {list(found)}")


def test_predictions_and_explanations_at_once_each_get_their_own(client: httpx.Client) -> None:
    """The answers expected are those to each image sent alone, and differ."""
    images = list(images_of_different_labels(client, 3).values())
    alone = [post(client, image, top_k=12).json()["predictions"] for image in images]
    maps = [np.asarray(explain(client, image).json()["fall"]) for image in images]
    assert len({predictions[0]["label"] for predictions in alone}) == 3
    assert all(np.abs(maps[one] - maps[other]).max() > 1e-3 for one, other in ((0, 1), (0, 2), (1, 2)))

    def ask(number: int) -> Any:
        image = images[number % 3]
        if number < 9:
            return explain(client, image).json()["fall"]
        return post(client, image, top_k=12).json()["predictions"]

    with ThreadPoolExecutor(30) as pool:
        for number, answer in enumerate(pool.map(ask, range(30))):
            if number < 9:
                assert np.asarray(answer) == pytest.approx(maps[number % 3], abs=1e-4)
            else:
                expected = alone[number % 3]
                assert [item["label"] for item in answer] == [item["label"] for item in expected]
                assert [item["probability"] for item in answer] == pytest.approx(
                    [item["probability"] for item in expected], abs=1e-4
                )


def test_it_is_said_whether_the_model_had_to_be_loaded(client: httpx.Client, settings: Settings) -> None:
    """Also tests the familiarity: whether an image resembles the correctly classified validation images.

    It is present from the first checkpoint with saved answers.
    """
    first = post(client, PNG, model=MINE).json()
    again = post(client, PNG, model=MINE).json()
    assert (first["cold"], again["cold"]) == (True, False)
    assert "familiarity" not in again
    assert explain(client, PNG, model=MINE).json()["cold"] is False

    run_dir = settings.runs / MINE
    spec = read_spec(run_dir)
    add_checkpoint(run_dir, spec, 20)
    here = load_best(run_dir, spec, run_record(settings.datasets, run_dir, spec), torch.device("cpu"))
    images = [random_image(seed) for seed in range(9)]
    scores = here.probabilities(np.stack(images)).amax(1)
    low, high = images[int(scores.argmin())], images[int(scores.argmax())]
    kept = np.full(150, float(scores.min() + scores.max()) / 2, np.float16)
    write_answers(run_dir, Answers(20, np.arange(150, dtype=np.int32), np.zeros(150, np.int16), kept, kept))
    files = [("file", encode(image)) for image in (low, high)]
    answer = client.post(f"/api/predict?model={MINE}", files=files).json()
    one, other = (result["familiarity"] for result in answer["results"])
    assert (answer["cold"], one["familiar"], other["familiar"]) == (True, False, True)
    assert (one["threshold"], one["answers"]) == (float(kept[0]), 150)
    assert one["score"] == pytest.approx(float(scores.min()), abs=1e-4)
    assert post(client, encode(low), model=MINE).json()["familiarity"] == pytest.approx(one, abs=1e-4)


def test_the_page_shows_one_model_or_two(client: httpx.Client) -> None:
    alone = client.get(f"/predict?model={FINE}")
    assert alone.text.count("data-panel ") == 1
    both = client.get(f"/predict?model={FINE}&beside={COARSE}")
    assert both.text.count("data-panel ") == 2
    chosen = re.findall(r'<option value="(\w*)" selected>', both.text)
    assert chosen == [FINE, COARSE]
    assert f"curl -F file=@photo.jpg '{str(client.base_url).rstrip('/')}/api/predict?model={COARSE}" in both.text
    assert client.get(f"/predict?model={FINE}&beside=").text.count("data-panel ") == 1
    for path in (f"/predict?model={FINE}&beside=none", "/predict?model=none"):
        assert client.get(path).status_code == 404


def test_a_name_answers_with_the_run_that_it_stands_for(client: httpx.Client, database: Database) -> None:
    with database.write() as session:
        for row in session.exec(sqlmodel.select(Run).where(sqlmodel.col(Run.id).in_([FINE, COARSE]))).all():
            session.add(Checkpoint(run=row.key or 0, step=10, epoch=1, sha256="0" * 64, size=1, best=True))
            row.val_count = 2
    assert_error(client.put("/api/models/production", json={"run": "none"}), 404)
    assert_error(client.put("/api/models/production", json={"run": EMPTY}), 409)
    assert_error(client.put("/api/models/latest", json={"run": FINE}), 422)
    assert_error(post(client, PNG, model="production"), 404)
    for run in (FINE, COARSE):
        moved = client.put("/api/models/production", json={"run": run})
        assert (moved.status_code, moved.json()["run"]) == (200, run)
        assert post(client, PNG, model="production").json()["model"]["run"] == run
    assert [move["run"] for move in client.get("/api/models/production").json()["history"]] == [COARSE, FINE]
    assert [model["name"] for model in client.get("/api/models").json()] == ["production"]
    assert_error(client.delete(f"/api/runs/{COARSE}"), 409)

    card = client.get("/models/production")
    assert card.status_code == 200
    assert "/api/predict?model=production" in card.text
    assert "It predicts one of its" in card.text
    assert "It was trained on 10 images of tiny" in card.text  # 2 of 12 were held out
    assert client.get(f"/models/{FINE}").status_code == client.get("/models").status_code == 200
    assert client.get("/models/none").status_code == 404
    named = client.post("/models", data={"name": "night", "run": FINE})
    assert (named.status_code, named.headers["location"]) == (303, "/models/night")
    for name in ("production", "night"):
        assert client.delete(f"/api/models/{name}").status_code == 204
    assert_error(client.get("/api/models/production"), 404)
    assert_error(post(client, PNG, model="production"), 404)


def test_the_open_inference_protocol_answers_as_predict_does(client: httpx.Client) -> None:
    assert client.get("/v2").json()["name"] == "trackside"
    assert client.get("/v2/health/live").json() == {"live": True}
    assert client.get("/v2/health/ready").json() == {"ready": True}
    assert client.get(f"/v2/models/{FINE}/ready").json() == {"ready": True}
    described = client.get(f"/v2/models/{FINE}").json()
    assert described["inputs"] == [{"name": "image", "datatype": "UINT8", "shape": [-1, 32, 32, 3]}]
    assert described["outputs"][0] == {"name": "probabilities", "datatype": "FP32", "shape": [-1, len(CLASSES)]}

    images = [random_image(index) for index in range(3)]
    flat = {"name": "image", "shape": [3, 32, 32, 3], "datatype": "UINT8", "data": np.stack(images).ravel().tolist()}
    answer = client.post(f"/v2/models/{FINE}/infer", json={"id": "mine", "inputs": [flat]}).json()
    assert (answer["id"], answer["model_name"], answer["model_version"]) == ("mine", FINE, FINE)
    outputs = {tensor["name"]: tensor for tensor in answer["outputs"]}
    probabilities = np.reshape(outputs["probabilities"]["data"], outputs["probabilities"]["shape"])
    for image, row, label in zip(images, probabilities, outputs["label"]["data"], strict=True):
        expected = post(client, encode(image), top_k=12).json()["predictions"]
        assert label == expected[0]["label"]
        assert [row[item["index"]] for item in expected] == pytest.approx(
            [item["probability"] for item in expected], abs=1e-6
        )
    nested = {**flat, "shape": [1, 32, 32, 3], "data": [images[0].tolist()]}
    wanted = {"inputs": [nested], "outputs": [{"name": "label"}]}
    again = client.post(f"/v2/models/{FINE}/infer", json=wanted).json()
    assert [tensor["name"] for tensor in again["outputs"]] == ["label"]
    assert again["outputs"][0]["data"] == outputs["label"]["data"][:1]


@pytest.mark.parametrize(
    "changed",
    [
        {"shape": [1, 32, 32, 1]},
        {"shape": [0, 32, 32, 3]},
        {"shape": [9, 32, 32, 3]},
        {"datatype": "FP32"},
        {"name": "picture"},
        {"data": [1, 2, 3]},
        {"data": [256] * 3072},
        {"data": [-1] * 3072},
        {"data": [0.5] * 3072},
        {"data": ["a"] * 3072},
        {"data": [[1, 2], [3]]},
        {"data": [None] * 3072},
    ],
)
def test_tensors_that_do_not_fit_are_refused(client: httpx.Client, changed: dict[str, Any]) -> None:
    tensor = {"name": "image", "shape": [1, 32, 32, 3], "datatype": "UINT8", "data": [0] * 3072, **changed}
    assert_error(client.post(f"/v2/models/{FINE}/infer", json={"inputs": [tensor]}), 422)


def test_a_tensor_for_nobody(client: httpx.Client) -> None:
    tensor = {"name": "image", "shape": [1, 32, 32, 3], "datatype": "UINT8", "data": [0] * 3072}
    assert_error(client.post("/v2/models/none/infer", json={"inputs": [tensor]}), 404)
    assert_error(client.post(f"/v2/models/{EMPTY}/infer", json={"inputs": [tensor]}), 409)
    assert_error(client.get("/v2/models/none"), 404)
    assert_error(client.get(f"/v2/models/{EMPTY}/ready"), 409)
