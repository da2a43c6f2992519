"""The search of networks, and a network of timm from the request to its trained model."""

from __future__ import annotations

import io
import json
import zipfile
from functools import partial
from pathlib import Path

import httpx
import pytest
import timm
import torch
from PIL import Image
from sqlmodel import select
from timm.data.config import resolve_data_config
from timm.data.transforms_factory import create_transform

from app.storage.db import Database
from app.storage.tables import Run
from tests.conftest import Server, wait_for

TINY = {"model.name": "timm:mobilenetv3_small_050", "checks": "off", "compile": "off", "max_steps": 4, "batch_size": 16}


def test_networks_are_found_by_parts_of_their_names(api: httpx.Client) -> None:
    found = api.get("/api/networks", params={"q": "convnext tiny in22k"}).json()
    names = [item["name"] for item in found["items"]]
    assert "timm:convnext_tiny.fb_in22k_ft_in1k" in names
    assert found["total"] == len(names)
    first = api.get("/api/networks", params={"q": "timm:resnet18", "limit": 1}).json()["items"][0]
    assert (first["name"], first["size"], first["licence"]) == ("timm:resnet18.a1_in1k", 224, "apache-2.0")
    assert first["parameters"] == 11_689_512
    assert api.get("/api/networks", params={"q": "wrn"}).json()["items"][0]["name"] == "wrn-16-4"
    assert api.get("/api/networks", params={"q": "nothing like it"}).json() == {"items": [], "total": 0}


def test_a_name_that_does_not_exist_is_refused_with_its_field(api: httpx.Client) -> None:
    body = {"dataset": "shapes100", "preset": "resnet18", "overrides": {"model.name": "timm:resnet18x"}}
    refused = api.post("/api/runs", json=body)
    assert refused.status_code == 422
    assert "overrides.model.name" in refused.text
    assert "did you mean resnet18" in refused.text


def predicted(client: httpx.Client, asked: dict[str, str | int], data: bytes) -> httpx.Response | None:
    """Return the answer; None while the predictor starts, or imports timm."""
    answer = client.post("/api/predict", params=asked, files={"file": ("a.png", data)}, timeout=60)
    return None if answer.status_code == 503 else answer.raise_for_status()


def test_a_network_of_timm_is_trained_predicts_and_is_read_by_timm(server: Server, tmp_path: Path) -> None:
    server.start("web", "worker", "predictor")
    run = server.launch(preset="resnet18", overrides=TINY)
    server.wait_status(run, "finished")
    with server.client() as client:
        images = [client.get(f"/api/datasets/shapes100/images/test/{row}.png").content for row in range(3)]
        asked: dict[str, str | int] = {"model": run, "top_k": 100, "calibrated": "false"}
        answers = [wait_for(partial(predicted, client, asked, data)) for data in images]
        folder = client.get(f"/api/models/{run}/timm").raise_for_status().content
        assert client.get(f"/api/models/{run}/file").status_code == 200
        assert client.post("/api/networks").status_code == 405
    zipfile.ZipFile(io.BytesIO(folder)).extractall(tmp_path / "model")
    network = timm.create_model(f"local-dir:{tmp_path / 'model'}", pretrained=True).eval()
    transform = create_transform(**resolve_data_config({}, model=network))  # type: ignore[no-untyped-call]
    batch = torch.stack([transform(Image.open(io.BytesIO(data)).convert("RGB")) for data in images])
    with torch.no_grad():
        probabilities = network(batch).softmax(1)
    names = vars(network)["pretrained_cfg"]["label_names"]
    for answer, row in zip(answers, probabilities, strict=True):
        expected = {names[index]: float(value) for index, value in enumerate(row)}
        assert {p["label"]: p["probability"] for p in answer.json()["predictions"]} == pytest.approx(expected, abs=1e-4)


def test_a_run_whose_network_a_later_timm_does_not_have_is_still_shown(server: Server) -> None:
    server.start("web")
    run = server.launch(preset="resnet18", overrides=TINY)
    database = Database(server.settings.url)
    with database.write() as session:
        row = session.exec(select(Run)).one()
        row.spec = json.loads(json.dumps(row.spec).replace("mobilenetv3_small_050", "gone"))
        row.model = "timm:gone"
    database.close()
    with server.client() as client:
        setup = client.get(f"/runs/{run}?tab=setup").text
        for address in (
            "/",
            f"/api/runs/{run}",
            f"/runs/{run}",
            *(f"/runs/{run}?tab={tab}" for tab in ("checks", "log", "setup", "errors")),
            f"/compare?runs={run}",
            "/results",
            f"/runs/new?from={run}",
        ):
            assert client.get(address).status_code == 200, address
        assert "timm:gone" in setup
        refused = client.post(f"/api/runs/{run}/clone")
        assert refused.status_code == 422
        assert "has no network gone" in refused.text
