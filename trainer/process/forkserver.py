"""A process that has torch loaded and forks trainers, so that a run starts in milliseconds instead of seconds.

It uses one socket, given as a file descriptor: each request is a JSON line, answered by a JSON line with the child's
pid. It never runs a torch operation itself (thread pools and CUDA do not survive a fork). It exits when its worker
does; its children keep running.
"""

from __future__ import annotations

import gc
import importlib
import logging
import os
import signal
import socket
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import orjson

from trainer.process.assignment import Assignment, FollowAssignment
from trainer.process.following import run_follower
from trainer.process.trainer import run_trainer
from trainer.rundir.folder import JobDir
from trainer.system.machine import packages

# torch._dynamo because the first optimizer of a process would load it, which takes more than a second.
PRELOADED = ("torch", "torch._dynamo", "torchvision", "trainer.loop", "trainer.tasks")


def serve(connection: socket.socket) -> None:
    """Load torch, send an empty object, then answer requests until the connection is closed."""
    for module in PRELOADED:
        importlib.import_module(module)
    packages()
    gc.collect()
    gc.freeze()  # so that garbage collection in the children does not copy pages that they only read
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # the kernel reaps the children
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    file = connection.makefile("rwb")
    with suppress(ConnectionError):  # the worker has ended without reading an answer
        file.write(b"{}\n")
        file.flush()
        for line in file:
            request = orjson.loads(line)
            pid = os.fork()
            if pid == 0:
                os._exit(_child(connection, request))
            file.write(orjson.dumps({"pid": pid}, option=orjson.OPT_APPEND_NEWLINE))
            file.flush()


def _child(connection: socket.socket, request: dict[str, Any]) -> int:
    os.setsid()
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    os.close(connection.fileno())
    output = os.open(JobDir(Path(request["run_dir"])).output, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(output, 1)
    os.dup2(output, 2)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s", force=True)
    try:
        match request.pop("kind"):
            case "task":
                from trainer.tasks import run_task

                return run_task(Path(request["run_dir"]), request["attempt"])
            case "rank":
                return run_follower(FollowAssignment(**request))
            case _:
                return run_trainer(Assignment(**request))
    except BaseException:
        logging.exception("the process failed outside of training")
        return 1
    finally:
        sys.stdout.flush()
        sys.stderr.flush()


if __name__ == "__main__":
    with socket.socket(fileno=int(sys.argv[1])) as given:
        serve(given)
