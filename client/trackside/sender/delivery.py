"""One session on its way to the server, which holds a byte prefix of its events."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from trackside.sender.server import Refused, Server
from trackside.spool import BLOCK, END, Facts, SpooledSession, events_of, whole_lines

LIMIT = 3 << 20  # bytes of one request; the server accepts 4 MiB


@dataclass(frozen=True)
class WantedFile:
    """A file that an event refers to."""

    sha256: str
    name: str


class Delivery:
    """Each call makes at most one request, and raises what `Server` raises. `as_id` sends it as another run."""

    def __init__(self, session: SpooledSession, facts: Facts, server: Server, as_id: str = "") -> None:
        self.id = as_id or facts.id
        self.offset: int | None = None  # what the server is known to hold; None before the first answer
        self.is_known = False  # the server has heard of the session
        self.stop = False
        self.ended = False  # the events that the server holds include the end
        self.last_step = -1
        self.wanted: list[WantedFile] = []
        self._scanned = 0
        self._added: dict[str, Any] = {}
        self._session = session
        self._server = server
        self._request = {**facts.request, "session": facts.session, **({"resume": "never"} if as_id else {})}

    def announce(self) -> None:
        answer = self._server.announce(self.id, self._request)
        # From now on the run exists, unless somebody deletes it: it must not come back then.
        self._request["resume"] = "must"
        self.is_known = True
        self._accept(answer)

    def describe(self, facts: Facts) -> None:
        """Send what has been added to the facts since the session was announced."""
        new = {name: value for name, value in facts.added.items() if value != self._added.get(name)}
        if new:
            self._server.describe(self.id, new)
            self._added.update(new)

    def send(self) -> int:
        """Send the next lines, and return how many bytes they are: 0 if there is nothing to send."""
        assert self.offset is not None
        lines = whole_lines(self._session.events, self.offset, BLOCK)
        if not lines:
            return 0
        if len(lines) > LIMIT:
            raise Refused(413, "line_too_long", "an event is too large for the server")
        self._append(lines)
        return len(lines)

    def beat(self) -> None:
        """Tell the server that the script is alive."""
        self._append(b"")

    def is_complete(self) -> bool:
        """Whether the server holds everything that is in the file."""
        return self.offset is not None and self.offset >= self._session.events.stat().st_size

    def scan(self) -> None:
        """Read what was written since the last call: the files that are referred to, and the last step."""
        while lines := whole_lines(self._session.events, self._scanned):
            self._scanned += len(lines)
            for event in events_of(lines, "image", "file"):
                name = event.get("path") or event.get("key") or ""
                self.wanted.append(WantedFile(str(event.get("sha256")), str(name)))
            start = lines.rfind(b'\n{"e":"metrics",') + 1
            for event in events_of(lines[start:].partition(b"\n")[0], "metrics"):
                self.last_step = max(self.last_step, int(event["step"]))
            self.ended = self.ended or lines.startswith(END) or b"\n" + END in lines

    def _append(self, lines: bytes) -> None:
        assert self.offset is not None
        try:
            answer = self._server.append(self.id, self._session.session, self.offset, lines)
        except Refused as error:
            held = error.detail.get("offset") if isinstance(error.detail, dict) else None
            if error.code != "gap" or not isinstance(held, int):
                raise
            self.offset = held
            return
        self._accept(answer)

    def _accept(self, answer: dict[str, Any]) -> None:
        offset = int(answer["offset"])
        if offset > self._session.events.stat().st_size:
            raise Refused(409, "different_events", "the server holds more events than the spool")
        self.offset = offset
        self.stop = bool(answer.get("stop"))
