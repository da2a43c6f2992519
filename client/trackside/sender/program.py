"""The sender of a session: a process of its own, which outlives the script and its signals."""

from __future__ import annotations

import os
import random
import signal
import sys
import threading
import time
import traceback
from contextlib import suppress
from pathlib import Path

from trackside.events import EventFile
from trackside.options import keeps_spool
from trackside.sender.delivery import Delivery
from trackside.sender.observer import Observer
from trackside.sender.reporter import Reporter
from trackside.sender.server import Busy, Refused, Server, Unauthorized, Unreachable
from trackside.sender.uploads import Uploads
from trackside.spool import BLOCK, Facts, SenderLock, SpooledSession, sessions_in

TICK_SECONDS = 0.1
SEND_SECONDS = 0.2  # between two requests of a run
BEAT_SECONDS = 5.0
RETRY_SECONDS = (0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 30.0)
OFFLINE_SECONDS = 0.5
TRIES = 3  # of a sender that does not insist
PATIENCE_SECONDS = 600.0  # for which it tries without progress once the script has ended

REASONS = {
    "superseded": "another process logs to run {id}. This one is kept in {folder}; "
    "trackside sync {spool} sends it as a run of its own.",
    "run_exists": "the server has another run {id}. This one is kept in {folder}; "
    "trackside sync {spool} sends it as a run of its own.",
    "not_found": "run {id} was deleted on the server. Events are kept in {folder} and not sent.",
}

NO_SCRIPTS = "{url} has no run {id} to resume, or is not a Trackside server that takes script runs. Kept in {folder}."


class Sender:
    """Sends one session until the server holds all of it, or refuses it, or patience ends."""

    def __init__(
        self, session: SpooledSession, facts: Facts, reporter: Reporter, as_id: str = "", insists: bool = True
    ) -> None:
        """`insists`: whether it tries again for long. `as_id` sends the session as another, new run."""
        self.session = session
        self.facts = facts
        self.insists = insists
        self.reporter = reporter
        self.server = Server(os.environ.get("TRACKSIDE_URL") or facts.url)
        self.delivery = Delivery(session, facts, self.server, as_id)
        self.uploads = Uploads(session, self.delivery.id, self.server.url, reporter.notice)
        self._failures = 0
        self._heard = time.monotonic()
        self._abandoned_at: float | None = None
        self._progress_at = 0.0  # when bytes were last sent
        self._stop_told = False
        self._facts_read = 0  # when the facts were written that the server has been told

    def run(self) -> str:
        """Return the outcome: sent, refused or unsent."""
        while True:
            try:
                pause = self._turn()
            except Refused as error:
                return self._refuse(error)
            except Unauthorized as error:
                self.reporter.notice(
                    f"the server refuses the token ({error}). Events are kept in {self.session.folder} and sent once "
                    "TRACKSIDE_TOKEN_FILE holds a valid one, or with trackside sync."
                )
                if not self.insists:
                    return "unsent"
                pause = self._back_off(0.0)
            except Busy as error:
                pause = error.retry_after
            except Unreachable as error:
                self.reporter.notice(f"the server cannot be reached ({error}). Events are kept and sent later.")
                if not self.insists and self._failures >= TRIES:
                    return "unsent"
                pause = self._back_off(error.retry_after)
            if pause is None:
                return "sent"
            if self._abandoned_at is not None:
                progress_at = max(self._abandoned_at, self._progress_at, self.uploads.progress_at)
                if time.monotonic() - progress_at > PATIENCE_SECONDS:
                    return "unsent"
            time.sleep(pause)

    def _turn(self) -> float | None:
        """Make one request if there is reason to. Return the pause before the next turn, None at the end."""
        self._look()
        self.delivery.scan()
        self.uploads.add(self.delivery.wanted)
        if self.delivery.offset is None:
            self.delivery.announce()
            self._reached()
            return 0.0
        if self._facts_changed():
            try:
                self.delivery.describe(self.session.facts())
            except Refused as error:
                self.reporter.notice(f"the server does not change the name or project of the run: {error}")
        if sent := self.delivery.send():
            self._reached()
            self._progress_at = self._heard
            return 0.0 if sent > BLOCK // 2 else SEND_SECONDS  # what has piled up is sent at once
        if self._abandoned_at is not None and self.delivery.ended and self.delivery.is_complete():
            return None if self.uploads.is_done() else TICK_SECONDS
        if time.monotonic() - self._heard > BEAT_SECONDS:
            self.delivery.beat()
            self._reached()
        return TICK_SECONDS

    def _look(self) -> None:
        """Note whether the script is alive; write the end that a killed one has not written."""
        if self._abandoned_at is None and not self.session.is_written():
            self._abandoned_at = time.monotonic()
            if not self.session.has_end():
                write_missing_end(self.session)

    def _facts_changed(self) -> bool:
        """Whether a script below `trackside watch` has given the run a name or a project."""
        now = self.session.facts_file.stat().st_mtime_ns
        if now == self._facts_read:
            return False
        self._facts_read = now
        return True

    def _reached(self) -> None:
        if self._failures:
            self.reporter.notice("the server is reached again.")
            self.reporter.forget()
        self._failures = 0
        self._heard = time.monotonic()
        if self.delivery.stop and not self._stop_told:
            self._stop_told = True
            self.reporter.tell(stop=True)

    def _back_off(self, retry_after: float) -> float:
        self.delivery.offset = None  # what the server holds is asked again
        wait = RETRY_SECONDS[min(self._failures, len(RETRY_SECONDS) - 1)]
        self._failures += 1
        # Not all at once after an outage. A script that has ended may be waiting for us.
        return max(retry_after, wait * random.uniform(0.8, 1.2))

    def _refuse(self, error: Refused) -> str:
        facts = self.session.facts()
        facts.refused = error.code
        self.session.write_facts(facts)
        folder = self.session.folder
        reason = "the server refuses run {id}: {error}. It is kept in {folder}."
        text = REASONS.get(error.code, reason) if error.status != 404 or self.delivery.is_known else NO_SCRIPTS
        known = {"id": self.facts.id, "folder": folder, "spool": folder.parent, "error": error, "url": self.server.url}
        self.reporter.notice(text.format(**known))
        return "refused"


def write_missing_end(session: SpooledSession) -> None:
    """Append the end of a script that was killed: it holds no lock and has written no `end`."""
    events = EventFile(session.events)
    data = session.events.read_bytes()[-1:]
    if data not in (b"", b"\n"):
        events.write(b"\n")
    error = {"code": "exited", "message": "The script exited without finish: it was killed, or its machine stopped."}
    events.emit("end", status="failed", error=error)
    events.close()


def is_pending(session: SpooledSession) -> bool:
    """Whether a session is to be sent without being asked for: its script is gone, and it was not meant to stay."""
    try:
        facts = session.facts()
        return facts.mode == "online" and facts.refused is None and not session.is_written()
    except (OSError, ValueError):
        return False


def deliver(session: SpooledSession, reporter: Reporter, *, is_own: bool = False) -> str:
    """Send a session and return the outcome: "busy" if another process sends it, "gone" if it was deleted.

    is_own: describe and measure its script meanwhile. The events of one that is offline are not sent: "kept".
    """
    lock = SenderLock(session)
    try:
        facts = session.facts()
        if not lock.take():
            return "busy"
    except (OSError, ValueError):
        return "gone"
    try:
        sender = Sender(session, facts, reporter)
        if is_own:
            Observer(session, facts, sender.delivery, reporter).start()
        outcome = sender.run() if facts.mode == "online" else _keep(session, sender.delivery)
        if outcome == "sent" and not keeps_spool():
            session.delete()
        return outcome
    finally:
        lock.release()


def _keep(session: SpooledSession, delivery: Delivery) -> str:
    """Wait for the end of a script whose events stay here."""
    while session.is_written():
        delivery.scan()
        time.sleep(OFFLINE_SECONDS)
    if not session.has_end():
        write_missing_end(session)
    return "kept"


def _send_left_overs(spool: Path, own: SpooledSession) -> None:
    """Send what earlier scripts have left in the spool, one session after the other."""
    with suppress(OSError):
        for other in sessions_in(spool):
            if other.folder != own.folder and is_pending(other):
                deliver(other, Reporter(-1))


def _send_earlier(own: SpooledSession) -> None:
    """Send the earlier sessions of the same run: the server takes what it hears of last for the newest."""
    for other in sessions_in(own.folder.parent, own.id):
        while other.session < own.session and is_pending(other) and deliver(other, Reporter(-1)) == "busy":
            time.sleep(TICK_SECONDS)


def main(folder: str, session: str, descriptor: str) -> None:
    """The process: `trackside.link` starts it."""
    for number in (signal.SIGINT, signal.SIGHUP, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)  # those are meant for the script
    own = SpooledSession(Path(folder), session)
    reporter = Reporter(int(descriptor))
    try:
        if own.facts().mode == "online":
            _send_earlier(own)
        others = threading.Thread(target=_send_left_overs, args=(own.folder.parent, own))
        if own.facts().mode == "online":
            others.start()
        reporter.tell(outcome=deliver(own, reporter, is_own=True))
        if others.is_alive():
            others.join()
    except Exception:  # noqa: BLE001 (the edge of the process)
        traceback.print_exc()
        reporter.notice(f"the sender has failed, see {own.sender_log}. Events are kept: send them with trackside sync.")
        sys.exit(1)
