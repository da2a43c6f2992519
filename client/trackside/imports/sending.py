"""Sends the lines of a run. What the server has already is found out from it, and nothing is sent twice.

A session of the run is its start, a part of the lines, and its end. What a later import finds at the end of the lines
is a further session, which continues the run. If what was sent is no longer how the lines begin (a file was replaced,
or a step logged again), a new generation of sessions begins, which replaces all that was imported.
"""

from __future__ import annotations

import hashlib
import json
import time
from functools import partial
from typing import Any, Callable, TypeVar

from trackside.imports.content import Content
from trackside.imports.items import LATEST, Ending
from trackside.sender.server import Busy, Refused, Server
from trackside.starting import NOTHING_REPLACED

LIMIT = 3 << 20  # bytes of one request
COMPARED = 1 << 20  # bytes before the end of what the server has, which it compares
Answer = TypeVar("Answer")


class Delivery:
    """Sends the content of one run."""

    def __init__(self, server: Server, content: Content, run_id: str, request: dict[str, Any]) -> None:
        self.id = run_id
        self.replaced = False  # what was imported before was not how the lines begin
        self.stop = False  # somebody has pressed Stop
        self.heard_at = 0.0
        self._server = server
        self._content = content
        self._request = request
        self._generation = 0
        self._part = 0
        self._is_found = False  # what the server has is known
        self._session = ""
        self._base = 0  # where in the lines the session begins
        self._sent = 0  # up to where they were sent
        self._offset = 0  # bytes of the session that the server has
        self._ended = False

    def send(self) -> int:
        """Send what the server does not have. Return how many bytes of lines that was."""
        if not self._is_found:
            self._find()
            self._is_found = True
        began = self._sent
        if self._ended and self._sent < self._content.size:
            self._begin(self._generation, self._part + 1)
        if not self._ended and not self._offset:
            self._post(self._start())
        while lines := self._content.whole_lines(self._sent, LIMIT):
            self._upload(self._sent, self._sent + len(lines))
            self._post(lines)
            self._sent += len(lines)
        return self._sent - began

    def beat(self) -> None:
        """Tell the server that the run goes on."""
        if not self._ended:
            self._post(b"")

    def end(self, wanted: Ending | None = None) -> None:
        """End the run: as its files say, else as finished."""
        ending = self._content.source.ending() if wanted is None else wanted
        line = _end(ending or Ending(), self._content.last_time)
        if self._ended and ending is not None and not self._has(self._offset - len(line), line):
            self._begin(self._generation, self._part + 1)  # it had another end, and nothing was logged since
            self._post(self._start())
        if not self._ended:
            self._post(line)
            self._ended = True

    def _find(self) -> None:
        """Find out what the server has. A run that it does not know is created."""
        held = int(self._announce(self._session_of(0, 0), "never")["offset"])
        generation, part, base = 0, 0, 0
        while (following := self._held(generation + 1, 0)) is not None:
            generation, held = generation + 1, following
        while (following := self._held(generation, part + 1)) is not None:
            base += held - len(self._start_of(generation, part)) - len(_end(Ending()))
            part, held = part + 1, following
        self._take(generation, part, base, held)
        if not self._continues(held):
            self.replaced = True
            self._begin(generation + 1, 0)

    def _continues(self, held: int) -> bool:
        """Look where in the lines the session ends. Return False if they do not begin with what the server has."""
        self._offset, self._ended, self._sent = held, False, self._base
        if not held:
            return True
        length = held - len(self._start())
        for ended in (False, True):
            sent = self._base + length - (len(_end(Ending())) if ended else 0)
            if self._base <= sent <= self._content.size and self._is_held(sent):
                self._sent, self._ended = sent, ended
                return True
        return False

    def _is_held(self, sent: int) -> bool:
        """Whether the server has these very bytes before `sent`."""
        start = max(self._base, sent - COMPARED)
        body = self._content.bytes_at(start, sent)
        if not body:
            return True
        if not body.endswith(b"\n"):
            return False
        return self._has(len(self._start()) + start - self._base, body)

    def _has(self, offset: int, body: bytes) -> bool:
        """Whether the server has these very bytes of the session."""
        try:
            self._append(offset, body)
        except Refused as error:
            if error.code == "different_events":
                return False
            raise
        return True

    def _begin(self, generation: int, part: int) -> None:
        self._announce(self._session_of(generation, part), "allow")
        self._take(generation, part, 0 if part == 0 else self._sent, 0)
        self._sent, self._ended = self._base, False

    def _take(self, generation: int, part: int, base: int, held: int) -> None:
        self._generation, self._part, self._base, self._offset = generation, part, base, held
        self._session = self._session_of(generation, part)

    def _held(self, generation: int, part: int) -> int | None:
        """How many bytes of a session the server has, None if there is no such session."""
        try:
            return int(self._announce(self._session_of(generation, part), "never")["offset"])
        except Refused as error:
            if error.code == "run_exists":
                return None
            raise

    def _announce(self, session: str, resume: str) -> dict[str, Any]:
        body = {**self._request, "session": session, "resume": resume}
        return _patiently(lambda: self._server.announce(self.id, body))

    def _session_of(self, generation: int, part: int) -> str:
        return hashlib.sha256(f"{self.id} {generation} {part}".encode()).hexdigest()[:28]

    def _start(self) -> bytes:
        return self._start_of(self._generation, self._part)

    def _start_of(self, generation: int, part: int) -> bytes:
        known = {"from_step": 0 if part == 0 else NOTHING_REPLACED, "session": self._session_of(generation, part)}
        shown = json.dumps({"e": "start", "t": self._content.first_time, **known, "id": self.id}, separators=(",", ":"))
        return shown.encode() + b"\n"

    def _upload(self, start: int, end: int) -> None:
        """Send the images of these lines, before the lines: an import that is interrupted lacks none then."""
        for at, sha256 in self._content.images:
            if start < at <= end:
                _patiently(partial(self._upload_image, sha256))

    def _upload_image(self, sha256: str) -> None:
        if not self._server.has_file(self.id, sha256):
            self._server.put_file(self.id, sha256, self._content.image_file(sha256), _nothing)

    def _post(self, lines: bytes) -> None:
        self._append(self._offset, lines)
        self._offset += len(lines)

    def _append(self, offset: int, lines: bytes) -> None:
        answer = _patiently(lambda: self._server.append(self.id, self._session, offset, lines))
        self.stop = bool(answer.get("stop"))
        self.heard_at = time.monotonic()


def _patiently(call: Callable[[], Answer]) -> Answer:
    """Make a request; wait if the server asks for it."""
    while True:
        try:
            return call()
        except Busy as error:
            time.sleep(error.retry_after)


def _end(ending: Ending, last_time: float = 0.0) -> bytes:
    """The end of a session: always of the same length."""
    status, code = f'"{ending.status}"', json.dumps(ending.exit_code)
    time = ending.time if 0 < ending.time <= LATEST else last_time
    known = f'"t":{time:<20.6f},"status":{status:<10},"exit_code":{code:<11}'
    return f'{{"e":"end",{known}}}\n'.encode()


def _nothing() -> None:
    return
