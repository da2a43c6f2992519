"""A small real HTTP server of the calls for scripts: what the client needs, kept in memory, with faults on demand."""

from __future__ import annotations

import gzip
import hashlib
import json
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit


@dataclass
class KnownRun:
    """A run: the events of its sessions, in the order in which it heard of them."""

    sessions: dict[str, bytearray] = field(default_factory=dict)
    announced: dict[str, Any] = field(default_factory=dict)
    files: dict[str, bytes] = field(default_factory=dict)
    stop: bool = False

    @property
    def newest(self) -> str:
        return list(self.sessions)[-1]

    def events(self, kind: str = "", session: str = "") -> list[dict[str, Any]]:
        data = self.sessions[session or self.newest] if self.sessions else b""
        found = [json.loads(line) for line in data.splitlines()]
        return [event for event in found if event["e"] == kind or not kind]

    def points(self, name: str) -> list[tuple[int, Any]]:
        """The values of a series over all sessions, as they were sent."""
        return [
            (event["step"], event["v"][name])
            for session in self.sessions
            for event in self.events("metrics", session)
            if name in event["v"]
        ]

    @property
    def last_step(self) -> int:
        steps = [event["step"] for session in self.sessions for event in self.events("metrics", session)]
        return max(steps, default=-1)


class ProtocolServer:
    """`stop` and `start` it at will: its port and what it knows stay."""

    def __init__(self) -> None:
        self.runs: dict[str, KnownRun] = {}
        self.token = ""  # if set, others are refused
        self.deleted: set[str] = set()
        self.requests: list[str] = []
        self.lost_answers = 0  # so many answers to events are not sent, though the events are kept
        self._lock = threading.Lock()
        self._port = 0
        self._http: ThreadingHTTPServer | None = None
        self.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._port}"

    def start(self) -> None:
        server = self

        class Handler(_Handler):
            known = server

        class Http(ThreadingHTTPServer):
            daemon_threads = True
            allow_reuse_address = True

        self._http = Http(("127.0.0.1", self._port), Handler)
        self._port = self._http.server_port
        threading.Thread(target=self._http.serve_forever, args=(0.02,), daemon=True).start()

    def stop(self) -> None:
        if self._http is not None:
            self._http.shutdown()
            self._http.server_close()
            self._http = None

    def answer(self, method: str, target: str, token: str, body: bytes) -> tuple[int, dict[str, Any] | None]:
        """Return the status and body of an answer; None as body: the connection is closed without one."""
        parts, self_query = urlsplit(target), parse_qs(urlsplit(target).query)
        words = parts.path.strip("/").split("/")
        with self._lock:
            self.requests.append(f"{method} {parts.path}")
            if self.token and token != f"Bearer {self.token}":
                return _error(401, "unauthorized")
            if method == "PATCH" and words[:2] == ["api", "runs"] and words[2] in self.runs:
                self.runs[words[2]].announced |= json.loads(body)
                return 200, {}
            if words[:2] != ["api", "scripts"] or words[2] in self.deleted:
                return _error(404, "not_found")
            if len(words) == 3:
                return self._announce(words[2], json.loads(body))
            if words[2] not in self.runs:
                return _error(404, "not_found")
            run = self.runs[words[2]]
            if words[3] == "files":
                return _file(run, method, words[4], body)
            return self._append(run, self_query["session"][0], int(self_query["offset"][0]), body)

    def _announce(self, run_id: str, request: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        session, known = request["session"], run_id in self.runs
        if not known and request["resume"] == "must":
            return _error(404, "not_found")
        if known and request["resume"] == "never" and session not in self.runs[run_id].sessions:
            return _error(409, "run_exists")
        run = self.runs.setdefault(run_id, KnownRun())
        last_step = run.last_step
        held = run.sessions.setdefault(session, bytearray())
        run.announced |= request
        attempt = list(run.sessions).index(session) + 1
        answer = {"id": run_id, "url": f"/runs/{run_id}", "attempt": attempt, "last_step": last_step, "stop": run.stop}
        return (200 if known else 201), {**answer, "offset": len(held)}

    def _append(self, run: KnownRun, session: str, offset: int, body: bytes) -> tuple[int, dict[str, Any] | None]:
        if session != run.newest:
            return _error(409, "superseded")
        held = run.sessions[session]
        if offset > len(held):
            return _error(409, "gap", {"offset": len(held)})
        overlap = held[offset : offset + len(body)]
        if bytes(overlap) != body[: len(overlap)]:
            return _error(409, "different_events")
        assert body == b"" or body.endswith(b"\n")
        held += body[len(overlap) :]
        if body and self.lost_answers:
            self.lost_answers -= 1
            return 0, None
        return 200, {"offset": len(held), "stop": run.stop}


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    known: ProtocolServer

    def _handle(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if self.headers.get("Content-Encoding") == "gzip":
            body = gzip.decompress(body)
        token = self.headers.get("Authorization", "")
        status, answer = self.known.answer(self.command, self.path, token, body)
        if answer is None:
            self.close_connection = True
            return
        text = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(text)

    do_GET = do_HEAD = do_PUT = do_POST = do_PATCH = _handle

    def log_message(self, format: str, *args: Any) -> None:
        return


def _file(run: KnownRun, method: str, sha256: str, body: bytes) -> tuple[int, dict[str, Any]]:
    if method == "HEAD":
        return (200, {}) if sha256 in run.files else _error(404, "not_found")
    if hashlib.sha256(body).hexdigest() != sha256:
        return _error(422, "invalid")
    run.files[sha256] = body
    return 201, {}


def _error(status: int, code: str, detail: Any = None) -> tuple[int, dict[str, Any]]:
    return status, {"error": {"code": code, "message": code.replace("_", " "), "detail": detail}}
