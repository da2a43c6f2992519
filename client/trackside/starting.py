"""`init`: chooses between a run of its own, one that `trackside watch` has begun, and one that ignores everything."""

from __future__ import annotations

import errno
import json
import os
import re
import secrets
import signal
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from trackside.ending import finish_with_script
from trackside.errors import Error, UsageError
from trackside.link import Link
from trackside.notices import say, say_once
from trackside.options import Options, rank_of, read_options
from trackside.request import Wanted, request_of, system_of
from trackside.script_run import Run
from trackside.spool import Facts, SpooledSession, events_of, new_session, sessions_in, whole_lines

WATCH = "TRACKSIDE_WATCH"  # what `trackside watch` tells the scripts that it starts
DESCRIPTION = ("name", "project", "notes", "tags")  # what can be said of a run that has begun
RUN_ID = re.compile(r"(?!(?:new|latest)$)[0-9A-Za-z][0-9A-Za-z_-]{0,31}", re.IGNORECASE)
RESUME = {
    None: "allow",
    False: "allow",
    True: "allow",
    "auto": "allow",
    "allow": "allow",
    "never": "never",
    "must": "must",
}
ANSWER_SECONDS = 5.0
NOTHING_REPLACED = 2**53  # as the first step of a session: the server keeps all of the sessions before


def start(wanted: Wanted, mode: str | None, folder: str | None, on_stop: Callable[[Run], None] | None = None) -> Run:
    """`on_stop` is called in a thread once a person has pressed Stop; by default the script is interrupted.

    Raises UsageError: an argument is not valid. Raises Error: the server refuses the resume."""
    if wanted.run_id and not RUN_ID.fullmatch(wanted.run_id):
        raise UsageError(
            f"id is {wanted.run_id!r}: use 1 to 32 letters, digits, - and _, beginning with a letter or digit."
        )
    options = read_options(mode, folder)
    rank = rank_of(os.environ)
    if rank or options.mode == "disabled":
        if rank:
            say_once(f"rank {rank}: only rank 0 logs. Set TRACKSIDE_RANK=0 if this is a training of its own.")
        return Run(wanted.run_id or new_id(), wanted.name, wanted.project, options.url)
    if WATCH in os.environ and not wanted.watched:
        return _join_watched(wanted)
    return _begin(wanted, options, on_stop or _interrupt)


def _begin(wanted: Wanted, options: Options, on_stop: Callable[[Run], None]) -> Run:
    """Begin a session of its own and start its sender."""
    run_id = wanted.run_id or new_id()
    address = f"{options.url}/runs/{run_id}"
    session = _new_session(options.spool, run_id)
    if session is None:
        return Run(run_id, wanted.name, wanted.project, address)
    facts = Facts(
        id=run_id,
        session=session.session,
        url=options.url,
        mode=options.mode,
        created=time.time(),
        request=request_of(wanted, session.session),
        system=system_of(wanted),
    )
    first_step = _first_step(wanted, options, session, facts)
    from_step = first_step if first_step is not None else NOTHING_REPLACED
    if from_step == 0:
        # Its events are those of a new run. Sent late, they must not replace those of another that has its id.
        facts.request["resume"] = "never"
    run = Run(run_id, wanted.name or run_id, wanted.project, address, session, first_step or 0)
    run.group, run.tags, run.notes, run.job_type = wanted.group, wanted.tags, wanted.notes, wanted.job_type
    run.offline = options.mode == "offline"
    run.finish_seconds = options.finish_seconds
    run._emit("start", from_step=from_step, session=session.session, id=run_id)
    session.write_facts(facts)
    try:
        run._link = Link(session, on_stop=lambda: on_stop(run))
    except OSError as error:
        say(f"the sender cannot be started ({error}): send the run later with trackside sync {session.folder.parent}")
    say(f"offline: run {run_id} is kept in {session.folder}" if run.offline else f"run {run_id}: {address}")
    return run


def _new_session(spool: Path, run_id: str) -> SpooledSession | None:
    """Create a session in `spool`; where that is impossible, in the folder of temporary files; else return None."""
    other = Path(tempfile.gettempdir()) / f"trackside-{os.getuid()}"
    for folder in (spool, other):
        try:
            if folder is other:
                _make_private(other)
            session = new_session(folder, run_id)
        except OSError as error:
            say(f"{folder}: {error.strerror or error}")
            continue
        if folder is other:
            say(f"events are kept in {folder} instead.")
        return session
    say("this run is not recorded.")
    return None


def _make_private(folder: Path) -> None:
    """Raises PermissionError: another user has made it."""
    folder.mkdir(mode=0o700, exist_ok=True)
    if folder.lstat().st_uid != os.getuid():
        raise PermissionError(errno.EPERM, "belongs to another user")


def new_id() -> str:
    return "".join(secrets.choice("0123456789abcdefghijklmnopqrstuvwxyz") for _ in range(10))


def watch_variable(run: Run) -> str:
    """What a script below `trackside watch` has to know, as the value of TRACKSIDE_WATCH."""
    session = run._session
    assert session is not None
    known = {
        "id": run.id, "session": session.session, "folder": str(session.folder), "step": run.starting_step,
        "url": run.url, "name": run.name, "project": run.project,
    }  # fmt: skip
    return json.dumps(known)


def _join_watched(wanted: Wanted) -> Run:
    """Log to the run that `trackside watch` has begun: its events are appended to the same file."""
    try:
        known = json.loads(os.environ[WATCH])
        session = SpooledSession(Path(known["folder"]), str(known["session"]))
        facts = session.facts()
    except (ValueError, KeyError, TypeError, OSError) as error:
        raise Error(f"{WATCH} does not name a run that is being watched: {error}") from None
    if wanted.run_id and wanted.run_id != session.id:
        say_once(f"id {wanted.run_id} is ignored: trackside watch logs to run {session.id}.")
    said = request_of(wanted, "")
    new = {name: said[name] for name in DESCRIPTION if name in said and name not in {**facts.request, **facts.added}}
    if new:
        facts.added.update(new)
        session.write_facts(facts)
    described = {"name": known["name"], "project": known["project"], **facts.added}
    name, project = described["name"], described["project"]
    return Run(session.id, name, project, known["url"], session, int(known["step"]), attached=True)


def _first_step(wanted: Wanted, options: Options, session: SpooledSession, facts: Facts) -> int | None:
    """The step from which a run goes on: 0 for a new one, None if nobody knows. Asks this spool, then the server."""
    if not wanted.run_id:
        return 0
    here = [
        _last_step(other) for other in sessions_in(options.spool, wanted.run_id) if other.session != session.session
    ]
    if here or options.mode == "offline":
        # What is here is sent first: the server would take a session that it hears of later for a newer one.
        return max(here) + 1 if here else None
    # Loaded here, since most scripts begin a new run and do not need it.
    from trackside.sender.server import Refused, Server, Unauthorized, Unreachable

    try:
        answer = Server(options.url, ANSWER_SECONDS).announce(wanted.run_id, facts.request)
    except Refused as error:
        if error.code in ("run_exists", "not_found", "not_a_script"):
            session.delete()
            raise Error(str(error)) from None
        return None  # the sender says why
    except (Unreachable, Unauthorized):
        return None
    last = answer.get("last_step")
    return int(last) + 1 if isinstance(last, int) and last >= 0 and answer.get("attempt", 1) > 1 else 0


def _last_step(session: SpooledSession) -> int:
    """The last step in the events of a session in this spool."""
    offset, last = 0, -1
    while block := whole_lines(session.events, offset):
        offset += len(block)
        for event in events_of(block, "start", "metrics"):
            step = event["step"] if "step" in event else event["from_step"] - 1
            if step < NOTHING_REPLACED - 1:
                last = max(last, step)
    return last


def _interrupt(run: Run) -> None:
    """A person has pressed Stop: end the script as Ctrl-C does."""
    run.stopping = True
    say("stopped from the dashboard")
    interruptible = callable(signal.getsignal(signal.SIGINT))
    os.kill(os.getpid(), signal.SIGINT if interruptible else signal.SIGTERM)


def finish_at_exit(run: Run) -> None:
    if not run.disabled:
        finish_with_script(run)
