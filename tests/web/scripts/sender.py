"""A small client of the script API: a session's spool file, sent by byte offsets."""

from __future__ import annotations

import gzip
import time
from pathlib import Path
from typing import Any

import httpx
import orjson


class Sender:
    """A session of a script run. `spool` holds all that it has logged."""

    def __init__(self, client: httpx.Client, run_id: str, session: str = "a" * 8, path: Path | None = None) -> None:
        self.client, self.run_id, self.session = client, run_id, session
        self.spool = b""
        self.offset = 0
        self.path = path

    def register(self, **body: Any) -> httpx.Response:
        answer = self.client.put(f"/api/scripts/{self.run_id}", json={"session": self.session, **body})
        if answer.is_success:
            self.offset = answer.json()["offset"]
        return answer

    def log(self, kind: str, **fields: Any) -> None:
        self.spool += orjson.dumps({"e": kind, "t": time.time(), **fields}, option=orjson.OPT_APPEND_NEWLINE)

    def start(self, from_step: int = 0) -> None:
        self.log("start", from_step=from_step, session=self.session, id=self.run_id)

    def metrics(self, step: int, **values: Any) -> None:
        self.log("metrics", step=step, v={name.replace("__", "/"): value for name, value in values.items()})

    def end(self, status: str = "finished", **fields: Any) -> None:
        self.log("end", status=status, **fields)

    def post(self, *, offset: int | None = None, body: bytes | None = None, compressed: bool = False) -> httpx.Response:
        """Send what the server does not have yet."""
        at = self.offset if offset is None else offset
        data = self.spool[at:] if body is None else body
        headers = {"Content-Type": "application/x-ndjson"} | ({"Content-Encoding": "gzip"} if compressed else {})
        answer = self.client.post(
            f"/api/scripts/{self.run_id}/events",
            params={"session": self.session, "offset": at},
            content=gzip.compress(data) if compressed else data,
            headers=headers,
        )
        if answer.is_success:
            self.offset = answer.json()["offset"]
        return answer
