"""Shared fixtures and helpers: a small real dataset, real server processes on free ports, and `wait_for`."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import httpx
import pytest
from hypothesis import settings

from app.runs.runs import Runs
from app.settings import Settings
from app.storage.db import Database
from app.supervisor import free_port
from tests import warm
from tests.databases import ON_POSTGRES, databases_of_a_while, end_server, settings_of, url_of
from tests.postgres import IS_MISSING
from trainer.data.sources.shapes import make_shapes100

settings.register_profile("shared machine", deadline=None)
settings.load_profile("shared machine")

if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    # A shell that runs pytest in the background makes it ignore SIGINT, and its child processes would inherit that.
    signal.signal(signal.SIGINT, signal.default_int_handler)

# As the command `trackside` does: for processes that a test starts elsewhere than in the checkout.
ROOT = Path(__file__).parents[1]
os.environ["PYTHONPATH"] = os.pathsep.join([str(ROOT), str(ROOT / "client")])

T = TypeVar("T")

# Overrides with which a step of `baseline-cnn` takes a third of the time. On a slow machine a run of more than a few
# steps would be compiled, which takes half a minute.
NARROW: dict[str, Any] = {"model.widths": [6, 8, 8], "checks": "off", "compile": "off"}
# Trains until it is stopped, and reacts to a stop within one step.
ENDLESS: dict[str, Any] = {"epochs": 400, "compile": "off", "checks": "off"}
# For runs whose values are compared: a run that measures how it is executed fastest may decide differently each time.
FIXED: dict[str, Any] = {"precision": "float32", "compile": "off", "threads": 1}

# For httpx: certificates, which no test uses, take 40 ms of processor time to load, for each client again.
NO_TLS = False

TRAIN_PER_CLASS = 40
TEST_PER_CLASS = 10


def wait_for(condition: Callable[[], T | None], seconds: float = 60.0, what: str = "the condition") -> T:
    """Poll `condition`, every 20 ms at first and every 50 ms later, and return its first true value.

    Raises AssertionError: when it is still false after `seconds`.
    """
    began = time.monotonic()
    while True:
        value = condition()
        if value:
            return value
        waited = time.monotonic() - began
        if waited > seconds:
            raise AssertionError(f"{what} did not come true within {seconds} s (last: {value!r})")
        time.sleep(0.02 if waited < 1 else 0.05)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items if ON_POSTGRES else []:
        if (mark := item.get_closest_marker("sqlite_only")) is not None:
            item.add_marker(pytest.mark.skip(reason=f"of SQLite only: {mark.args[0]}"))
        elif IS_MISSING:
            item.add_marker(pytest.mark.skip(reason="initdb and pg_ctl of PostgreSQL are not on the PATH"))


def pytest_sessionfinish() -> None:
    end_server()  # not at the exit: pytest-xdist kills a process that takes long for it


@pytest.fixture(autouse=True)
def same_umask() -> Iterator[None]:
    """A command that a test calls in this process may set the umask, for a private home."""
    before = os.umask(0o022)
    os.umask(before)
    yield
    os.umask(before)


@pytest.fixture(scope="session")
def shapes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A datasets folder with a small shapes100: 4,000 training and 1,000 test images."""
    root = tmp_path_factory.mktemp("datasets")
    make_shapes100(root, train_per_class=TRAIN_PER_CLASS, test_per_class=TEST_PER_CLASS)
    return root


@pytest.fixture(scope="session")
def few_shapes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A datasets folder with half as many images: an epoch of 64 images a step has 28 steps."""
    root = tmp_path_factory.mktemp("few")
    make_shapes100(root, train_per_class=TRAIN_PER_CLASS // 2, test_per_class=3)
    return root


@pytest.fixture(scope="session")
def empty_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file of an empty, migrated database, to be copied."""
    path = tmp_path_factory.mktemp("empty") / "trackside.db"
    database = Database(f"sqlite:///{path}")
    database.migrate()
    database.close()
    return path


@pytest.fixture(scope="module", autouse=True)
def databases_of_module() -> Iterator[None]:
    with databases_of_a_while():
        yield


@pytest.fixture
def database(tmp_path: Path, empty_database: Path) -> Iterator[Database]:
    """An empty, migrated database."""
    if not ON_POSTGRES:
        shutil.copy(empty_database, tmp_path / "t.db")
    database = Database(url_of(tmp_path / "t.db") if ON_POSTGRES else f"sqlite:///{tmp_path}/t.db")
    yield database
    database.close()


@contextmanager
def runs_in(home: Path, shapes: Path) -> Iterator[Runs]:
    """Yield `Runs` of the new home `home`, which links to the shared small dataset. No process is started."""
    (home / "datasets").symlink_to(shapes)
    settings = settings_of(home)
    database = Database(settings.url)
    database.migrate()
    yield Runs(database, settings)
    database.close()


@dataclass
class Server:
    """A home and the real processes (web, worker, predictor) that a test starts on it."""

    may_fork: ClassVar[bool] = warm.AVAILABLE
    home: Path
    settings: Settings
    processes: dict[str, subprocess.Popen[bytes] | warm.Forked] = field(default_factory=dict)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.settings.port}"

    def client(self) -> httpx.Client:
        return httpx.Client(base_url=self.url, timeout=30, verify=NO_TLS)

    def start(self, *names: str, **environment: str) -> None:
        """Start processes, warm ones where `environment` changes settings alone, and wait for the web process."""
        may_fork = self.may_fork and all(name.startswith("TRACKSIDE_") for name in environment)
        for name in names:
            if name in self.commands and may_fork:
                values = {**os.environ, **self.environment(), **environment}
                self.processes[name] = warm.start(self.commands[name], values)
            else:
                self.spawn(name, **environment)
        if "web" in names:
            self.wait_web()

    @property
    def commands(self) -> dict[str, list[str]]:
        return {
            "web": ["web", "--port", str(self.settings.port)],
            "worker": ["worker", "--device", "cpu"],
        }

    def spawn(self, *names: str, **environment: str) -> None:
        """Start processes as `serve` does."""
        for name in names:
            module = ["app.cli", *self.commands[name]] if name in self.commands else [f"app.{name}"]
            self.processes[name] = subprocess.Popen(
                [sys.executable, "-m", *module],
                env={**os.environ, **self.environment(), **environment},
                start_new_session=True,
            )

    def environment(self) -> dict[str, str]:
        database = self.settings.database_url
        return {
            "TRACKSIDE_HOME": str(self.home),
            **({} if database is None else {"TRACKSIDE_DATABASE_URL": database}),
            # Two OpenMP threads that synchronize are very slow when a browser competes for the cores.
            "OMP_NUM_THREADS": "1",
            "TRACKSIDE_LEASE_SECONDS": str(self.settings.lease_seconds),
            "TRACKSIDE_ORPHAN_SECONDS": str(self.settings.orphan_seconds),
            "TRACKSIDE_MAX_ATTEMPTS": str(self.settings.max_attempts),
            "TRACKSIDE_SILENT_SECONDS": str(self.settings.silent_seconds),
        }

    def wait_web(self) -> None:
        def answers() -> bool:
            try:
                return httpx.get(f"{self.url}/healthz", timeout=5, verify=NO_TLS).status_code == 200
            except httpx.TransportError:
                return False

        wait_for(answers, 30, "the web process")

    def wait_ready(self) -> None:
        """Wait until `/readyz` of a complete `trackside serve` answers 200."""

        def ready() -> bool:
            try:
                return httpx.get(f"{self.url}/readyz", timeout=5, verify=NO_TLS).status_code == 200
            except httpx.TransportError:
                return False

        wait_for(ready, 60, "readyz")

    def stop(self, name: str, number: int = signal.SIGTERM) -> None:
        process = self.processes.pop(name)
        process.send_signal(number)
        process.wait(60)

    def kill(self, name: str) -> None:
        self.stop(name, signal.SIGKILL)

    def launch(self, **body: Any) -> str:
        """Queue a run of `baseline-cnn` on shapes100, changed by `body`, and return its id."""
        request = {"dataset": "shapes100", "preset": "baseline-cnn", **body}
        with self.client() as client:
            answer = client.post("/api/runs", json=request)
        assert answer.status_code == 201, answer.text
        return str(answer.json()["id"])

    def run(self, run_id: str) -> dict[str, Any]:
        with self.client() as client:
            answer = client.get(f"/api/runs/{run_id}")
        assert answer.status_code == 200, answer.text
        body: dict[str, Any] = answer.json()
        return body

    def wait_status(self, run_id: str, *statuses: str, seconds: float = 90) -> dict[str, Any]:
        def there() -> dict[str, Any] | None:
            run = self.run(run_id)
            if run["status"] == "failed" and "failed" not in statuses:
                raise AssertionError(f"the run failed: {run['error']}")
            return run if run["status"] in statuses else None

        found = wait_for(there, seconds, f"status {' or '.join(statuses)}")
        assert found is not None
        return found

    def stop_run(self, run_id: str) -> dict[str, Any]:
        """Stop a run through the API and wait until it has stopped."""
        with self.client() as client:
            assert client.post(f"/api/runs/{run_id}/stop").status_code == 202
        return self.wait_status(run_id, "stopped")

    def wait_step(self, run_id: str, step: int, seconds: float = 60) -> None:
        wait_for(lambda: self.run(run_id)["step"] >= step, seconds, f"step {step}")

    def series(self, run_id: str, *names: str) -> dict[str, Any]:
        with self.client() as client:
            params = {"points": 100_000} | ({"series": ",".join(names)} if names else {})
            answer = client.get(f"/api/runs/{run_id}/metrics", params=params)
        assert answer.status_code == 200, answer.text
        series: dict[str, Any] = answer.json()["series"]
        return series

    def wait_measured(self, dataset: str) -> None:
        """Wait until the dataset's statistics are computed; the dataset's page reloads when they are."""
        with self.client() as client:
            path = f"/api/datasets/{dataset}/statistics"
            assert client.post(path).status_code == 202
            wait_for(lambda: client.get(path).status_code == 200, what="the statistics")

    def waiting(self) -> list[str]:
        """Return the names of the queued runs in starting order."""
        database = Database(self.settings.url)
        names = [run.name for run in Runs(database, self.settings).queue()]
        database.close()
        return names

    def trainer_pid(self, run_id: str) -> int | None:
        from trainer.rundir.lock import lock_holder

        return lock_holder(self.settings.runs / run_id)

    def close(self) -> None:
        for name in list(self.processes):
            process = self.processes[name]
            if process.poll() is None:
                self.stop(name, signal.SIGTERM if name != "web" else signal.SIGKILL)
        for folder in self.settings.runs.glob("*/lock"):
            if (pid := self.trainer_pid(folder.parent.name)) is not None:
                os.kill(pid, signal.SIGKILL)


def new_server(home: Path, shapes: Path, **settings: Any) -> Server:
    """A server on the new home `home`, which links to the shared small dataset. No process is started."""
    home.mkdir()
    (home / "datasets").symlink_to(shapes)
    chosen = settings_of(home, port=free_port("127.0.0.1"), **settings)
    database = Database(chosen.url)
    database.migrate()
    database.close()
    return Server(home, chosen)


@pytest.fixture
def make_server(tmp_path: Path, shapes: Path) -> Iterator[Callable[..., Server]]:
    """A factory of servers whose homes link to the shared small dataset; their processes end with the test."""
    made: list[Server] = []

    def make(name: str = "home", **settings: Any) -> Server:
        made.append(new_server(tmp_path / name, shapes, **settings))
        return made[-1]

    yield make
    for server in made:
        server.close()


@pytest.fixture
def server(make_server: Callable[..., Server]) -> Server:
    return make_server()
