"""Promise 8: every listed checkpoint loads, no matter when its writer is killed."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from trainer.models import checkpoint
from trainer.rundir.checkpoints import CheckpointDamaged, CheckpointInfo, list_checkpoints
from trainer.rundir.folder import RunDir

# Forks a child for each number from 0 on, which saves a second checkpoint, removes the first, and sends itself SIGKILL
# before the file system call of that number. Ends with the first child that survives.
WRITERS = """
import os, signal, sys
from pathlib import Path
import torch
from trainer.models import checkpoint
from trainer.rundir.checkpoints import remove_checkpoints

def save(run_dir, step):
    tensors = {"model.w": torch.full((1000,), float(step))}
    checkpoint.save(run_dir, tensors, {"step": step}, step=step, epoch=1, metrics={}, best=True)

def deadly(function):
    def call(*arguments, **named):
        global countdown
        if countdown == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        countdown -= 1
        return function(*arguments, **named)
    return call

for countdown in range(40):
    run_dir = Path(sys.argv[1], str(countdown))
    run_dir.mkdir()
    save(run_dir, 1)
    child = os.fork()
    if child == 0:
        os.fsync, Path.rename, Path.unlink, os.open = map(deadly, (os.fsync, Path.rename, Path.unlink, os.open))
        save(run_dir, 2)
        remove_checkpoints(run_dir, [1])
        os._exit(0)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    print(code)
    if code == 0:
        break
"""


def save(run_dir: Path, step: int, *, best: bool = True) -> CheckpointInfo:
    tensors = {"model.w": torch.full((1000,), float(step))}
    return checkpoint.save(run_dir, tensors, {"step": step}, step=step, epoch=1, metrics={}, best=best)


@pytest.mark.timeout(300)
def test_promise_08_a_kill_at_any_call_leaves_only_whole_checkpoints(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", WRITERS, tmp_path], check=True, capture_output=True, text=True)
    codes = [int(line) for line in done.stdout.split()]
    assert len(codes) > 8
    assert codes == [-signal.SIGKILL] * (len(codes) - 1) + [0]
    for call in range(len(codes)):
        run_dir = tmp_path / str(call)
        listed = list_checkpoints(run_dir)
        assert listed
        for info in listed:
            assert checkpoint.load(run_dir, info).tensors["model.w"][0] == info.step
    assert [info.step for info in listed] == [2]


def test_promise_08_a_flipped_byte_is_detected_and_the_one_before_is_used(tmp_path: Path) -> None:
    save(tmp_path, 1)
    newest = save(tmp_path, 2)
    path = RunDir(tmp_path).weights(2)
    data = bytearray(path.read_bytes())
    data[-5] ^= 1
    path.write_bytes(data)
    with pytest.raises(CheckpointDamaged):
        checkpoint.load(tmp_path, newest)
    loaded, faults = checkpoint.load_last_good(tmp_path)
    assert loaded is not None
    assert loaded.info.step == 1
    assert "step 2 is damaged" in faults[0]
    assert [info.step for info in list_checkpoints(tmp_path)] == [1]
    assert RunDir(tmp_path).weights(1).exists()
