"""The validation split from an upload to the pages: the dataset's own, or a share that is held out."""

from __future__ import annotations

import csv
import io
from typing import Any

import httpx

from tests.conftest import Server, wait_for
from tests.trainer.data.pictures import tree
from tests.web.zips import archive

THREE_WAY = (
    tree("train/cat", "train/dog", each=10) | tree("val/cat", "val/dog", each=4) | tree("test/cat", "test/dog", each=3)
)
OVERRIDES = {
    "model.widths": [4, 4, 4],
    "batch_size": 4,
    "epochs": 1,
    "checks": "off",
    "compile": "off",
    "val_fraction": 0,
}


def added(client: httpx.Client, name: str, files: dict[str, bytes]) -> dict[str, Any]:
    """Upload a dataset and return its record."""
    response = client.post("/api/datasets", files={"file": (f"{name}.zip", archive(files))}, data={"name": name})
    assert response.status_code == 202, response.text
    task = response.json()["id"]

    def ended() -> dict[str, Any] | None:
        found: dict[str, Any] = client.get(f"/api/tasks/{task}").json()
        return found if found["status"] in ("finished", "failed") else None

    assert wait_for(ended)["status"] == "finished"
    record: dict[str, Any] = client.get(f"/api/datasets/{name}").json()
    return record


def test_a_validation_folder_is_validated_on_and_shown(server: Server) -> None:
    server.settings.datasets.unlink()
    server.settings.datasets.mkdir()
    server.start("web", "worker")
    with server.client() as client:
        planned = client.post("/api/datasets/layout", json={"files": list(THREE_WAY)}).json()
        assert (planned["train"], planned["val"], planned["test"], planned["test_drawn"]) == (20, 8, 6, False)
        record = added(client, "pets", THREE_WAY)
        assert (record["train_count"], record["val_count"], record["test_count"]) == (20, 8, 6)
        words = "own validation split, 8 images"
        assert planned["validation"] == words

        asked: dict[str, Any] = {"dataset": "pets", "preset": "baseline-cnn"}
        form = client.get("/api/preview", params=asked).json()
        assert (form["val_count"], form["validation"], form["steps_per_epoch"]) == (8, words, 1)
        run_id = server.launch(**asked, overrides={**OVERRIDES, "early_stopping": 1})
        assert server.wait_status(run_id, "finished", "failed")["val_count"] == 8

        rows = list(csv.DictReader(io.StringIO(client.get(f"/api/runs/{run_id}/mistakes.csv").text)))
        errors = client.get(f"/runs/{run_id}?tab=errors").text
        assert "/api/datasets/pets/images/val/" in errors
        assert "images/train/" not in errors
        for row in rows:
            assert row["file"].startswith(f"val/{row['label']}/")
            assert int(row["row"]) < 8
        assert sum(cell[2] for cell in client.get(f"/api/runs/{run_id}/confusion").json()["cells"]) == 8
        assert "/api/datasets/pets/images/val/" in client.get(f"/runs/{run_id}?tab=checks").text
        assert f">{words}<" in client.get(f"/runs/{run_id}?tab=setup").text
        assert client.get(f"/models/{run_id}").status_code == 200

        page = client.get("/datasets/pets?split=val").text
        assert f"Validation: {words}." in page
        assert "validation · 8" in page
        assert page.count('src="/api/datasets/pets/images/val/') == 8
        assert "Test: a fifth" not in page
        assert client.get("/api/datasets/pets/images/val/7.png").status_code == 200
        assert client.get("/api/datasets/pets/images/val/8.png").status_code == 404
        assert "8 validation" in client.get("/datasets").text
        assert "validation split, 8 images" in client.get("/runs/new?dataset=pets").text


def test_a_test_split_that_is_drawn_is_said(server: Server) -> None:
    server.settings.datasets.unlink()
    server.settings.datasets.mkdir()
    server.start("web", "worker")
    files = {path: data for path, data in THREE_WAY.items() if not path.startswith("test/")}
    with server.client() as client:
        planned = client.post("/api/datasets/layout", json={"files": list(files)}).json()
        record = added(client, "pets", files)
        for found in (
            (planned["train"], planned["val"], planned["test"]),
            tuple(record[f"{split}_count"] for split in ("train", "val", "test")),
        ):
            assert found == (16, 8, 4)
        assert planned["test_drawn"] is record["test_drawn"] is True
        assert "Test: a fifth of the training images" in client.get("/datasets/pets").text
