"""`trackside train` and what it says to do next."""

from __future__ import annotations

import re
from pathlib import Path

from PIL import Image
from typer.testing import CliRunner

from app.cli import main
from tests.conftest import NARROW


def test_a_run_is_named_and_classifies_images_without_a_server(tmp_path: Path, shapes: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    (home / "datasets").symlink_to(shapes)
    image = tmp_path / "image.png"
    Image.new("RGB", (40, 30), "orange").save(image)

    def trackside(*arguments: str) -> str:
        ended = CliRunner().invoke(main, [*arguments], env={"TRACKSIDE_HOME": str(home)})
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
