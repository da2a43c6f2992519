"""A wheel works without the checkout: it contains pages, styles, presets and migrations."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import httpx
import pytest

from app.supervisor import free_port
from tests.conftest import wait_for

ROOT = Path(__file__).parents[1]
SOURCES = ("app", "trainer", "templates", "static", "pyproject.toml", "README.md", "LICENSE")
MIGRATE = "from app.storage.db import Database; from app.settings import Settings; Database(Settings().url).migrate()"


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a wheel of this checkout installed into it."""
    source, wheels = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("wheels")
    for name in SOURCES:
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        copy(ROOT / name, source / name)
    target = tmp_path_factory.mktemp("installed")
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    subprocess.run(
        [*pip, "wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", str(wheels), str(source)], check=True
    )
    (wheel,) = wheels.glob("*.whl")
    subprocess.run([*pip, "install", "--no-deps", "--target", str(target), str(wheel)], check=True)
    return target


@pytest.mark.timeout(180)
def test_an_installed_wheel_serves_a_page(installed: Path, tmp_path: Path) -> None:
    port = free_port("127.0.0.1")
    environment = {**os.environ, "PYTHONPATH": str(installed), "TRACKSIDE_HOME": str(tmp_path / "home")}
    subprocess.run([sys.executable, "-c", MIGRATE], env=environment, cwd=tmp_path, check=True)
    command = [sys.executable, "-m", "app.cli", "web", "--port", str(port)]
    process = subprocess.Popen(command, env=environment, cwd=tmp_path)
    try:
        address = f"http://127.0.0.1:{port}"

        def page() -> httpx.Response | None:
            try:
                return httpx.get(address, headers={"accept": "text/html"})
            except httpx.TransportError:
                return None

        found = wait_for(page, 30, "the page")
        assert found is not None
        assert found.status_code == 200
        assert httpx.get(f"{address}/static/css/tokens.css").status_code == 200
        assert httpx.get(f"{address}/api/networks?q=timm:resnet18").json()["total"] > 0
        assert httpx.get(f"{address}/static/vendor/uplot/uPlot.iife.min.js").status_code == 200
        assert "baseline-cnn" in httpx.get(f"{address}/api/presets").text
        where = subprocess.run(
            [sys.executable, "-c", "import app; print(app.__file__)"],
            env=environment, cwd=tmp_path, check=True, capture_output=True, text=True,
        )  # fmt: skip
        assert str(installed) in where.stdout
    finally:
        process.terminate()
        process.wait(30)


def test_every_package_is_listed() -> None:
    listed = set(tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"])
    found = {
        ".".join(init.parent.relative_to(ROOT).parts)
        for root in ("app", "trainer")
        for init in (ROOT / root).rglob("__init__.py")
    }
    assert listed - found == {"app.templates", "app.static", "trainer.spec.presets"}
    assert found <= listed
