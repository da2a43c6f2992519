"""A process that has torch loaded and forks trainers from it: a run starts in milliseconds, not seconds.

It speaks on one socket, given as a file descriptor: a JSON line asks, a JSON line answers with the child's pid.
It never runs a torch operation itself (thread pools and CUDA do not survive a fork), and it ends when its worker is
gone; its children go on.
"""

from __future__ import annotations

import gc
import importlib
import logging
import os
import signal
import socket
import sys
from pathlib import Path
from typing import Any

import orjson

from trainer.process.assignment import Assignment
from trainer.process.trainer import run_trainer
from trainer.rundir.folder import JobDir

# torch._dynamo because the first optimiser of a process would load it, for more than a second.
PRELOADED = ("torch", "torch._dynamo", "trainer.loop", "trainer.tasks")


def serve(connection: socket.socket) -> None:
    for module in PRELOADED:
        importlib.import_module(module)
    gc.collect()
    gc.freeze()  # keeps the children from copying what they only read
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # the kernel reaps
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    file = connection.makefile("rwb")
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
        if request.pop("kind") == "task":
            from trainer.tasks import run_task

            return run_task(Path(request["run_dir"]), request["attempt"])
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
