"""A server with script runs: one that goes on, one that has ended, and one with images and texts."""

from __future__ import annotations

import hashlib
import io
import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
from PIL import Image

from tests.conftest import Server, new_server, wait_for
from tests.web.scripts.sender import Sender

HOSTILE = '<script>document.title="owned"</script> \u202eevil "quoted" 🚂'


@dataclass
class ScriptHome:
    server: Server
    client: httpx.Client
    live: Sender
    ended: Sender

    def send(self, sender: Sender) -> None:
        assert sender.post().status_code == 200
        offset = sender.offset

        def read() -> bool:
            return self.server.run(sender.run_id)["step"] >= 0 and offset == sender.offset

        wait_for(read)


@contextmanager
def script_home(folder: Path, shapes: Path) -> Iterator[ScriptHome]:
    server = new_server(folder / "home", shapes)
    server.start("web", "worker")
    with server.client() as client:
        yield ScriptHome(server, client, live_run(client), ended_run(server, client))
    server.close()


def live_run(client: httpx.Client) -> Sender:
    sender = Sender(client, "live", "a" * 8)
    sender.register(name="goes on", project="trains", config={"lr": 0.1, "batch": 32}, tags=["first"])
    sender.start()
    for step in range(100):
        sender.metrics(step, train__loss=2 * math.exp(-step / 40), lr=0.1, system__cpu=40 + step % 7)
        if step % 10 == 9:
            sender.metrics(step, val__loss=2.1 * math.exp(-step / 45))
    assert sender.post().status_code == 200
    return sender


def ended_run(server: Server, client: httpx.Client) -> Sender:
    sender = Sender(client, "ended", "b" * 8)
    environment = {
        "command": ["python", "train.py", "--name", "two words"], "host": "box", "python": "3.12.1",
        "packages": {"torch": "2.9.0", "numpy": "2.1.0"},
        "git": {"commit": "0123456789abcdef", "branch": "main", "diff": "--- a\n+++ b\n-old\n+new\n"},
    }  # fmt: skip
    config = {"lr": 0.2, "model": {"name": "cnn", "widths": [1, 2]}, HOSTILE: HOSTILE}
    sender.register(name=HOSTILE, project="trains", config=config, script=environment, notes="*some* notes")
    sender.start()
    for step in range(60):
        sender.metrics(step, **{"loss": 1 / (1 + step), HOSTILE: step})
    for step in (10, 20, 30):
        picture = png(step)
        digest = hashlib.sha256(picture).hexdigest()
        fields = {"step": step, "key": "samples", "sha256": digest, "size": len(picture), "format": "png"}
        for index in range(2):
            sender.log("image", index=index, caption=f"sample {index} of step {step}", **fields)
        sender.log("text", step=step, key=HOSTILE, text=f"{HOSTILE} {step}")
        assert client.put(f"/api/scripts/ended/files/{digest}", content=picture).status_code == 201
    weights = b"weights"
    digest = hashlib.sha256(weights).hexdigest()
    assert client.put(f"/api/scripts/ended/files/{digest}", content=weights).status_code == 201
    sender.log("file", path="out/weights.bin", sha256=digest, size=len(weights))
    sender.log("file", path="out/missing.bin", sha256="0" * 64, size=5)
    sender.log("log", line="an error is coming")
    sender.end("failed", error={"code": "ValueError", "message": "bad value", "detail": "Traceback\n  line 1"})
    assert sender.post().status_code == 200
    server.wait_status("ended", "failed")
    return sender


def png(shade: int) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (64, 48), (8 * shade, 100, 200)).save(buffer, "PNG")
    return buffer.getvalue()
