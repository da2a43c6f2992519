"""`trackside sync`: send what a spool holds, now."""

from __future__ import annotations

import argparse
import time
from pathlib import Path

from trackside.notices import say
from trackside.options import keeps_spool, read_options
from trackside.sender.program import Sender, write_missing_end
from trackside.sender.reporter import Reporter
from trackside.spool import Facts, SenderLock, SpooledSession, sessions_in

LOCK_SECONDS = 3.0
TAKEN = ("superseded", "run_exists")  # reasons to send a session as a run of its own
COPIES = 100  # names of copies that are tried: <id>-2 and on
BASE = 28  # characters of an id that are kept before such a number


class _Terminal(Reporter):
    """Tells the person who has called `sync`."""

    def __init__(self) -> None:
        super().__init__(-1)

    def tell(self, **message: object) -> None:
        if "notice" in message:
            say(str(message["notice"]))


def main(words: list[str]) -> int:
    """Return 0 if nothing is left in the spool."""
    parser = argparse.ArgumentParser(
        prog="trackside sync",
        description="Send the runs that a spool holds: those of mode offline, and those that were not sent yet.",
    )
    parser.add_argument("folder", nargs="?", help="the spool, a run in it, or the folder with .trackside (default: .)")
    asked = parser.parse_args(words)
    found = _sessions(Path(asked.folder) if asked.folder else read_options().spool)
    if not found:
        say("there is nothing to send.")
    return 1 if [session for session in found if not _sync(session)] else 0


def _sessions(folder: Path) -> list[SpooledSession]:
    """The sessions of a spool, of a folder that holds one, or of one run."""
    for spool in (folder, folder / ".trackside"):
        if found := sessions_in(spool):
            return found
    return sessions_in(folder.parent, folder.name) if list(folder.glob("*.jsonl")) else []


def _sync(session: SpooledSession) -> bool:
    """Send one session. Return whether the server has all of it."""
    try:
        facts = session.facts()
        if session.is_written():
            say(f"{session.id} is still running.")
            return False
        lock = SenderLock(session)
        if not _take(lock):
            say(f"{session.id} is being sent by another process.")
            return False
    except (OSError, ValueError) as error:
        say(f"{session.folder}: {error}")
        return False
    try:
        if not session.has_end():
            write_missing_end(session)
        run_id, outcome = _send(session, facts)
        if outcome == "sent":
            say(f"{session.id} is sent{f' as {run_id}' if run_id != session.id else ''}.")
            if not keeps_spool():
                session.delete()
        return outcome == "sent"
    finally:
        lock.release()


def _take(lock: SenderLock) -> bool:
    """Take the lock, also of a script that has ended just now."""
    deadline = time.monotonic() + LOCK_SECONDS
    while not lock.take():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


def _send(session: SpooledSession, facts: Facts) -> tuple[str, str]:
    """Send a session, as a run of its own if another has taken its place. Return the run's id and the outcome."""
    reporter = _Terminal()
    if facts.refused not in TAKEN:
        sender = Sender(session, facts, reporter, insists=False)
        outcome = sender.run()
        if outcome != "refused" or session.facts().refused not in TAKEN:
            return sender.delivery.id, outcome
    for number in range(2, COPIES):
        copy = f"{facts.id[:BASE]}-{number}"
        sender = Sender(session, facts, _Silent() if number < COPIES - 1 else reporter, copy, insists=False)
        outcome = sender.run()
        if outcome != "refused" or session.facts().refused != "run_exists":
            break
    return copy, outcome


class _Silent(_Terminal):
    def tell(self, **message: object) -> None:
        return
