import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.trainer.system.workers import Batch, complain, die, squared
from trainer.system.parallel import ProcessDied, map_unordered

REPOSITORY = Path(__file__).parents[3]


def test_every_chunk_is_worked_on_once_in_other_processes() -> None:
    done = dict(map_unordered(squared, range(20), processes=2))
    assert {number: square for number, (square, _) in done.items()} == {n: n * n for n in range(20)}
    workers = {pid for _, pid in done.values()}
    assert os.getpid() not in workers
    assert 1 <= len(workers) <= 2


def test_one_process_is_this_one() -> None:
    assert list(map_unordered(squared, [3], processes=4)) == [(3, (9, os.getpid()))]


def test_an_error_in_the_work_is_raised_here() -> None:
    with pytest.raises(ValueError, match="not 1"):
        list(map_unordered(complain, [1, 1], processes=2))


def test_a_death_names_what_was_being_worked_on() -> None:
    with pytest.raises(ProcessDied) as caught:
        list(map_unordered(die, [Batch(["a.png"]), Batch(["b.png"])], processes=2))
    assert caught.value.detail["exit_code"] == 7
    assert caught.value.detail["files"] in (["a.png"], ["b.png"])


def test_workers_end_when_their_owner_is_killed() -> None:
    script = (
        "from trainer.system.parallel import map_unordered\n"
        "from tests.trainer.system.workers import squared\n"
        "for _, (_, pid) in map_unordered(squared, range(1000), processes=2):\n"
        "    print(pid, flush=True)\n"
        "    input()\n"
    )
    owner = subprocess.Popen(
        [sys.executable, "-c", script],
        cwd=REPOSITORY,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert owner.stdin is not None
    assert owner.stdout is not None
    with owner.stdin, owner.stdout:
        worker = int(owner.stdout.readline())
        assert _alive(worker)
        owner.send_signal(signal.SIGKILL)
        owner.wait()
    deadline = time.monotonic() + 10
    while _alive(worker):
        assert time.monotonic() < deadline, "the worker outlived its owner"


def _alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"
