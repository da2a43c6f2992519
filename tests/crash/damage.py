"""What the torture does besides killing: damage to files, a full disk, and a `serve` that is killed and restarted."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from tests.conftest import Server, wait_for
from trainer.rundir.folder import JobDir

RENAMED = ["unshare", "--uts", "sh", "-c", 'hostname "$0" && exec "$@"']
SPOILED = (b'{"e": "note", "text": "cut o', b"\xff\xfe\0 no line at all\n", b"[1, 2, 3]\n", b'{"e": 7}\n')
TMP_BYTES = 8 << 20
FULL_SECONDS = (1.0, 8.0)


def answer(server: Server, path: str) -> Any:
    """Return the JSON body of a GET, or None while the server does not respond or answers 503."""
    try:
        response = httpx.get(server.url + path, timeout=20)
    except httpx.TransportError:
        return None
    assert response.status_code in (200, 503), f"{path}: {response.status_code} {response.text}"
    return response.json() if response.status_code == 200 else None


def may(*command: str) -> bool:
    """Whether this user may run a command."""
    return shutil.which(command[0]) is not None and subprocess.run(command, capture_output=True).returncode == 0


@dataclass
class Serve:
    """A `trackside serve` that can be killed and started anew, also under another host name."""

    server: Server
    tmp: Path
    process: subprocess.Popen[bytes] | None = None
    names: int = 0

    @property
    def children(self) -> list[psutil.Process]:
        return psutil.Process(self.process.pid).children() if self.process else []

    def start(self, host_name: str | None = None) -> None:
        command = [sys.executable, "-m", "app.cli", "serve", "--port", str(self.server.settings.port), "--workers", "1"]
        if host_name is not None:
            command = [*RENAMED, host_name, *command]
        environment = {**os.environ, **self.server.environment(), "TMPDIR": str(self.tmp)}
        with (self.server.home / "serve.log").open("ab") as log:
            self.process = subprocess.Popen(command, env=environment, start_new_session=True, stdout=log, stderr=log)
        wait_for(self._is_ready, 120, "readyz")

    def _is_ready(self) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, "serve ended by itself; see serve.log"
        return answer(self.server, "/readyz") is not None

    def kill(self, *, renamed: bool) -> None:
        """Kill `serve` itself and start it anew once its children have ended with it. Trainers go on meanwhile."""
        assert self.process is not None
        children = self.children
        self.process.kill()
        self.process.wait()
        assert not psutil.wait_procs(children, 60)[1], "the children of serve outlived it"
        self.names += renamed
        self.start(f"torture-{self.names}" if renamed else None)

    def stop(self) -> None:
        if self.process is not None:
            self.process.send_signal(signal.SIGTERM)
            self.process.wait(90)


@dataclass
class Spares:
    """Finished runs whose folders may be removed."""

    left: list[str] = field(default_factory=list)
    removed: list[str] = field(default_factory=list)


def remove_run_folder(server: Server, spares: Spares) -> bool:
    """Remove the folder of a finished run. The server goes on to list the runs, and names what is missing."""
    if not spares.left:
        return False
    spares.removed.append(spares.left.pop())
    shutil.rmtree(server.settings.runs / spares.removed[-1])
    answer(server, "/api/runs?limit=100")
    for path in ("", "/checkpoints", "/log", "/findings"):
        with suppress(httpx.TransportError):
            status = httpx.get(f"{server.url}/api/runs/{spares.removed[-1]}{path}", timeout=20).status_code
            assert status in (200, 404, 409, 410, 503), f"{path or 'the run'}: {status}"
    return True


def spoil_journal(server: Server, ids: list[str], draw: random.Random) -> bool:
    """Append a line to a run's journal that is none, as a crash of the machine leaves it."""
    path = JobDir(server.settings.runs / draw.choice(ids)).journal
    with path.open("ab") as file:
        file.write(draw.choice(SPOILED))
    return True


@contextmanager
def small_disk(folder: Path) -> Iterator[Path]:
    """Yield `folder` with a small tmpfs mounted on it if this user may do that."""
    folder.mkdir()
    mounted = may("mount", "-t", "tmpfs", "-o", f"size={TMP_BYTES}", "tmpfs", str(folder))
    try:
        yield folder
    finally:
        if mounted:
            subprocess.run(["umount", "--lazy", str(folder)], check=True)


def fill_tmp(server: Server, folder: Path, draw: random.Random) -> bool:
    """Fill the disk of temporary files for some seconds, and upload meanwhile."""
    if not folder.is_mount():
        return False
    filler = folder / "filler"
    try:
        with pytest.raises(OSError, match="No space left"):
            filler.write_bytes(bytes(2 * TMP_BYTES))
        with suppress(httpx.TransportError):
            files = {"file": ("a.zip", bytes(4 << 20), "application/zip")}
            refused = httpx.post(f"{server.url}/api/datasets", data={"name": "full"}, files=files, timeout=30)
            assert 400 <= refused.status_code < 600, refused.text
            assert refused.status_code != 500, refused.text
        time.sleep(draw.uniform(*FULL_SECONDS))
    finally:
        filler.unlink(missing_ok=True)
    return True
