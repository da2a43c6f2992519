"""A wheel works without the checkout: it contains the client, pages, styles, presets and migrations."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import tomllib
import venv
from pathlib import Path

import httpx
import pytest

from app.supervisor import free_port
from tests.conftest import wait_for

ROOT = Path(__file__).parents[1]
SOURCES = ("app", "trainer", "templates", "static", "client", "pyproject.toml", "README.md", "LICENSE")
PIP = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
SERVER = "trackside._server."
# Finds the packages of this environment, but not the editable installation of this checkout, which is a finder.
DEPENDENCIES = "import sys; sys.path.append({folder!r})\n"


def build_wheel(source: Path, wheels: Path) -> Path:
    command = [*PIP, "wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", str(wheels), str(source)]
    subprocess.run(command, check=True)
    (wheel,) = wheels.glob("*.whl")
    return wheel


def environment_with(wheel: Path, folder: Path, *, dependencies: bool) -> Path:
    """Make a virtual environment with nothing but `wheel`, and return its folder of programs."""
    venv.create(folder, symlinks=True, with_pip=False)
    programs = folder / "bin"
    # Away from the checkout: pip would take its trackside.egg-info for an installation.
    install = [*PIP, "--python", str(programs / "python"), "install", "--no-deps", str(wheel)]
    subprocess.run(install, check=True, cwd=folder, env=clean_environment())
    if dependencies:
        (packages,) = folder.glob("lib/python*/site-packages")
        here = sysconfig.get_paths()["purelib"]
        (packages / "dependencies.pth").write_text(DEPENDENCIES.format(folder=here))
    return programs


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of what a wheel is built from: a build writes into its folder."""
    folder = tmp_path_factory.mktemp("source")
    for name in SOURCES:
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        copy(ROOT / name, folder / name)
    return folder


@pytest.fixture(scope="module")
def programs(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The programs of an environment in which a wheel of this checkout is installed."""
    wheel = build_wheel(source, tmp_path_factory.mktemp("wheels"))
    return environment_with(wheel, tmp_path_factory.mktemp("installed"), dependencies=True)


def clean_environment(**more: str) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("TRACKSIDE_", "PYTHON"))}
    return {**kept, "OMP_NUM_THREADS": "1", **more}


@pytest.mark.timeout(300)
def test_an_installed_wheel_serves_and_trains(programs: Path, tmp_path: Path, few_shapes: Path) -> None:
    port = free_port("127.0.0.1")
    # People have an app.py of their own in the folder in which they call the command.
    for name in ("app.py", "trainer.py", "trackside.py"):
        (tmp_path / name).write_text("raise SystemExit('the wrong module')")
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "datasets").symlink_to(few_shapes)
    command = [str(programs / "trackside"), "serve", "--port", str(port), "--workers", "1", "--demo"]
    environment = clean_environment(TRACKSIDE_HOME=str(tmp_path / "home"))
    process = subprocess.Popen(command, env=environment, cwd=tmp_path)
    address = f"http://127.0.0.1:{port}"

    def answer(path: str, **headers: str) -> httpx.Response | None:
        assert process.poll() is None
        try:
            return httpx.get(f"{address}{path}", headers=headers)
        except httpx.TransportError:
            return None

    try:
        page = wait_for(lambda: answer("/", accept="text/html"), 60, "the page")
        assert page.status_code == 200
        assert httpx.get(f"{address}/static/css/tokens.css").status_code == 200
        assert httpx.get(f"{address}/api/networks?q=timm:resnet18").json()["total"] > 0
        assert httpx.get(f"{address}/static/vendor/uplot/uPlot.iife.min.js").status_code == 200
        assert "baseline-cnn" in httpx.get(f"{address}/api/presets").text

        def trains() -> bool:
            runs = httpx.get(f"{address}/api/runs").json()["items"]
            assert not [run["error"] for run in runs if run["status"] == "failed"]
            return any(run["step"] > 10 for run in runs)

        wait_for(trains, 180, "a step of the example")
    finally:
        process.terminate()
        process.wait(60)


def test_the_wheel_adds_one_package(programs: Path, tmp_path: Path) -> None:
    python = str(programs / "python")
    for name in ("app", "trainer"):
        done = subprocess.run(
            [python, "-c", f"import {name}"], cwd=tmp_path, env=clean_environment(), capture_output=True, text=True
        )
        assert f"No module named '{name}'" in done.stderr
    code = "import trackside; print(trackside.__file__, trackside.__version__)"
    done = subprocess.run(
        [python, "-c", code], cwd=tmp_path, env=clean_environment(), check=True, capture_output=True, text=True
    )
    assert done.stdout.startswith(str(programs.parent))


def test_the_client_alone_names_what_is_missing(source: Path, tmp_path: Path) -> None:
    wheel = build_wheel(source / "client", tmp_path)
    programs = environment_with(wheel, tmp_path / "client", dependencies=False)
    done = subprocess.run([programs / "trackside", "serve"], env=clean_environment(), capture_output=True, text=True)
    assert done.returncode == 2
    assert "pip install trackside" in done.stderr
    helped = subprocess.run(
        [programs / "trackside"], env=clean_environment(), check=True, capture_output=True, text=True
    )
    assert "watch" in helped.stdout
    version = subprocess.run(
        [programs / "trackside", "--version"], env=clean_environment(), check=True, capture_output=True, text=True
    )
    assert version.stdout.startswith("trackside-client ")


def test_every_package_is_listed() -> None:
    listed = set(tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"])
    found = {
        ".".join(init.parent.relative_to(folder).parts)
        for folder, name in ((ROOT, "app"), (ROOT, "trainer"), (ROOT / "client", "trackside"))
        for init in (folder / name).rglob("__init__.py")
    }
    found = {name if name.startswith("trackside") else SERVER + name for name in found}
    unpacked = {"app.templates", "app.static", "trainer.spec.presets"}
    assert listed - found == {SERVER + name for name in unpacked}
    assert found <= listed
    client = tomllib.loads((ROOT / "client" / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"]
    assert set(client) == {name for name in listed if not name.startswith(SERVER)}
