"""`trackside train` and what it says to do next."""

from __future__ import annotations

import re
from pathlib import Path

from PIL import Image
from typer.testing import CliRunner

from app.cli import main
from app.datasets.datasets import Datasets
from app.results.cross_validation import cross_validations
from app.runs.query import RunQuery
from app.runs.runs import Runs
from app.storage.db import Database
from tests.conftest import NARROW
from tests.databases import home_environment, settings_of


def test_a_run_is_named_and_classifies_images_without_a_server(tmp_path: Path, shapes: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    (home / "datasets").symlink_to(shapes)
    image = tmp_path / "image.png"
    Image.new("RGB", (40, 30), "orange").save(image)

    def trackside(*arguments: str) -> str:
        ended = CliRunner().invoke(main, [*arguments], env=home_environment(home))
        assert ended.exit_code == 0, ended.output
        return ended.output

    settings = {**NARROW, "epochs": 1, "max_steps": 20}
    said = trackside(
        "train", "--preset", "baseline-cnn", "--dataset", "shapes100",
        *[item for name, value in settings.items() for item in ("--set", f"{name}={value}")],
    )  # fmt: skip
    found = re.search(r"trackside predict (\w+) FILES", said)
    assert found is not None, said
    assert "Training baseline-cnn " in said
    assert trackside("predict", found[1], str(image)).startswith("file,rank,label")
    assert f"{found[1]} finished" in trackside("reindex")
    assert trackside("predict", "latest", str(image)).startswith("file,rank,label")


def test_a_cross_validation_is_a_group_of_runs_that_hold_out_each_image_once(tmp_path: Path, few_shapes: Path) -> None:
    (tmp_path / "datasets").symlink_to(few_shapes)

    def trackside(*arguments: str) -> str:
        ended = CliRunner().invoke(main, [*arguments], env=home_environment(tmp_path))
        assert ended.exit_code == 0, ended.output
        return ended.output

    settings = {**NARROW, "max_steps": 4, "checks": "off"}
    said = trackside(
        "train", "--preset", "baseline-cnn", "--dataset", "shapes100", "--folds", "2",
        *[item for name, value in settings.items() for item in ("--set", f"{name}={value}")],
    )  # fmt: skip
    assert "Validation accuracy over 2 folds: " in said
    trackside("reindex")
    database = Database(settings_of(tmp_path).url)
    runs, datasets = Runs(database, settings_of(tmp_path)), Datasets(tmp_path / "datasets")
    (group,) = {run.group for run in runs.list(RunQuery()).items}
    assert group is not None
    (found,) = cross_validations(database, runs, datasets, group)
    database.close()
    assert found.pooled is not None
    assert found.pooled.images == datasets.get("shapes100").train_count
    assert [run.fold for run in found.runs] == [1, 2]
    assert {"acc", "balanced_acc", "loss"} <= found.figures.keys()
