"""Real scripts in real processes, which log to a real HTTP server."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.client.protocol_server import KnownRun, ProtocolServer
from tests.conftest import wait_for

CLIENT = Path(__file__).parents[2] / "client"


@dataclass
class Scripts:
    """Starts scripts in a folder of their own."""

    folder: Path
    server: ProtocolServer
    started: list[subprocess.Popen[str]]

    @property
    def spool(self) -> Path:
        return self.folder / ".trackside"

    def environment(self, **more: str) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith("TRACKSIDE_")}
        chosen = {"TRACKSIDE_URL": self.server.url, "TRACKSIDE_FINISH_SECONDS": "20", "PYTHONPATH": str(CLIENT)}
        return {**kept, **chosen, **more}

    def start(self, code: str, *arguments: str, **environment: str) -> subprocess.Popen[str]:
        """Start a script whose code begins with the import of the client."""
        path = self.folder / f"script{len(self.started)}.py"
        path.write_text(f"import trackside\n{code}\n")
        return self.command([sys.executable, str(path), *arguments], **environment)

    def command(self, command: list[str], **environment: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            command, cwd=self.folder, env=self.environment(**environment), text=True,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip
        self.started.append(process)
        return process

    def run(self, code: str, *arguments: str, status: int = 0, **environment: str) -> str:
        """Run a script to its end, and return its standard error."""
        return finished(self.start(code, *arguments, **environment), status)

    def only_run(self) -> KnownRun:
        return wait_for(lambda: next(iter(self.server.runs.values()), None), what="a run")

    def wait_end(self, seconds: float = 30) -> dict[str, Any]:
        """Wait until the newest session of the only run has ended, and return its `end` event."""

        def end() -> dict[str, Any] | None:
            run = next(iter(self.server.runs.values()), None)
            found = run.events("end") if run is not None else []
            return found[-1] if found else None

        return wait_for(end, seconds, "the end event")


def finished(process: subprocess.Popen[str], status: int = 0) -> str:
    output, errors = process.communicate(timeout=60)
    assert process.returncode == status, output + errors
    return errors


@pytest.fixture
def protocol_server() -> Iterator[ProtocolServer]:
    server = ProtocolServer()
    yield server
    server.stop()


@pytest.fixture
def scripts(tmp_path: Path, protocol_server: ProtocolServer) -> Iterator[Scripts]:
    found = Scripts(tmp_path, protocol_server, [])
    yield found
    for process in found.started:
        if process.poll() is None:
            process.kill()
        process.communicate()


@pytest.fixture
def imported(
    protocol_server: ProtocolServer, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., str]:
    """In this process, `trackside import` with these words; returns what it says."""
    from trackside import importing

    for name in list(os.environ):
        if name.startswith("TRACKSIDE_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("TRACKSIDE_URL", protocol_server.url)

    def run(*words: str | Path, status: int = 0) -> str:
        outcome = importing.main([str(word) for word in words])
        said = capsys.readouterr().err
        assert outcome == status, said
        return said

    return run


@pytest.fixture
def offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], list[dict[str, Any]]]]:
    """In this process, a client that only spools; returns its events."""
    import trackside
    from trackside import notices
    from trackside.spool import events_of, sessions_in

    for name in list(os.environ):
        if name.startswith("TRACKSIDE_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("TRACKSIDE_MODE", "offline")
    monkeypatch.setenv("TRACKSIDE_SPOOL", str(tmp_path / "spool"))
    monkeypatch.setattr(notices, "_SAID", set())

    def events(*kinds: str) -> list[dict[str, Any]]:
        (session,) = sessions_in(tmp_path / "spool")
        return list(events_of(session.events.read_bytes(), *kinds))

    yield events
    trackside.finish(quiet=True)
