"""The process of a rank other than the first: on the same machine forked by rank 0, on a seat of its own by that.

Over its link it tells rank 0 why it ends, as a JSON object per line: `error`, which it has raised; or `lost`, why an
exchange with another rank has failed. `leaves`: its machine is about to leave, and asks that the run be saved.
"""

from __future__ import annotations

import logging
import os
import select
import signal
import socket
import sys
import threading
import traceback
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson

from trainer.errors import explain
from trainer.process.assignment import FollowAssignment
from trainer.process.ending import COMPILE_FAILED, failed_to_compile
from trainer.process.meeting import NO_CONNECTION, Meeting, connect, interface_of
from trainer.process.tunnel import LOOPBACK, entrance
from trainer.rundir.events import EventWriter
from trainer.rundir.lock import LockHeld, take_lock

if TYPE_CHECKING:
    from trainer.engine.ranks import Ranks, Rendezvous

log = logging.getLogger(__name__)

FAILED, LOCKED, LOST = 1, 3, 4  # exit statuses: with an error of its own; its lock is held; it has lost another rank
LOCK_SECONDS = 20.0


def take_part(
    folder: Path, datasets: Path, device: str, events: EventWriter, ranks: Ranks, rendezvous: Rendezvous
) -> int:
    """Train as rank 0 tells, until that ends; return the exit status."""
    from trainer.engine.ranks import RankLost
    from trainer.follower import follow

    link = ranks.links[0]
    try:
        ranks.join(rendezvous, device)
        follow(folder, datasets, device, events, ranks)
    except RankLost as error:
        log.warning("rank %d ends: %s", ranks.rank, error)
        _say(link, lost=str(error))
        return LOST
    except BaseException as error:
        log.exception("rank %d on %s failed", ranks.rank, device)
        _say(link, error=_explained(error))
        return FAILED
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
    return 0


def run_follower(assignment: FollowAssignment) -> int:
    """Be a rank on a seat of its own, while holding the lock of its directory; return the exit status."""
    from trainer.engine.ranks import NetworkRendezvous, Ranks

    folder = Path(assignment.run_dir)
    try:
        take_lock(folder, LOCK_SECONDS)
    except LockHeld as error:
        log.error("%s", error)
        return LOCKED
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    early: list[int] = []  # rank 0 cannot be told yet
    signal.signal(signal.SIGTERM, lambda number, _frame: early.append(number))
    meeting, interface = Meeting(**assignment.meeting), interface_of(assignment.address)
    try:
        link = connect(meeting, assignment.rank)
    except OSError as error:
        log.error("%s at %s, port %d: %s", NO_CONNECTION, meeting.address, meeting.port, error)
        return LOST
    signal.signal(signal.SIGTERM, lambda _number, _frame: _say(link, leaves=True))
    if early:
        _say(link, leaves=True)
    threading.Thread(target=_end_with, args=(link,), name="end of rank 0", daemon=True).start()
    rendezvous = NetworkRendezvous(LOOPBACK, entrance(meeting, assignment.rank), interface)
    ranks = Ranks(assignment.rank, assignment.size, [link], sharing=assignment.sharing)
    events = EventWriter(folder, assignment.attempt)
    return take_part(folder, Path(assignment.datasets), assignment.device, events, ranks, rendezvous)


def _end_with(link: socket.socket) -> None:
    """Exit when rank 0, or its machine, is gone: an exchange with it may wait for ever."""
    look = select.poll()
    look.register(link, select.POLLRDHUP)  # besides POLLHUP and POLLERR; what is to be read stays there
    look.poll()
    log.warning("rank 0 is gone")
    sys.stderr.flush()
    os._exit(LOST)


def _say(link: socket.socket, **what: Any) -> None:
    with suppress(OSError):  # rank 0 is gone
        link.sendall(orjson.dumps(what, option=orjson.OPT_APPEND_NEWLINE))


def _explained(error: BaseException) -> dict[str, Any]:
    if failed_to_compile(error):
        return {"code": COMPILE_FAILED, "message": str(error), "detail": None}
    if isinstance(error, Exception):
        return explain(error)
    return {
        "code": "trainer_error",
        "message": repr(error),
        "detail": "".join(traceback.format_exception(error))[-4000:],
    }
