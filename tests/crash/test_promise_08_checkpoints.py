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

# Saves a second checkpoint and removes the first; sends itself SIGKILL before the file system call number argv[2].
WRITER = """
import os, signal, sys
from pathlib import Path
import torch
from trainer.models import checkpoint
from trainer.rundir.checkpoints import remove_checkpoints

countdown = int(sys.argv[2])

def deadly(function):
    def call(*arguments, **named):
        global countdown
        if countdown == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        countdown -= 1
        return function(*arguments, **named)
    return call

os.fsync, Path.rename, Path.unlink, os.open = map(deadly, (os.fsync, Path.rename, Path.unlink, os.open))
run_dir = Path(sys.argv[1])
checkpoint.save(run_dir, {"model.w": torch.full((1000,), 2.0)}, {"step": 2}, step=2, epoch=1, metrics={}, best=True)
remove_checkpoints(run_dir, [1])
"""


def save(run_dir: Path, step: int, *, best: bool = True) -> CheckpointInfo:
    tensors = {"model.w": torch.full((1000,), float(step))}
    return checkpoint.save(run_dir, tensors, {"step": step}, step=step, epoch=1, metrics={}, best=best)


@pytest.mark.timeout(300)
def test_promise_08_a_kill_at_any_call_leaves_only_whole_checkpoints(tmp_path: Path) -> None:
    survived = False
    for call in range(40):
        run_dir = tmp_path / str(call)
        run_dir.mkdir()
        save(run_dir, 1)
        code = subprocess.run([sys.executable, "-c", WRITER, str(run_dir), str(call)], check=False).returncode
        listed = list_checkpoints(run_dir)
        assert listed
        for info in listed:
            assert checkpoint.load(run_dir, info).tensors["model.w"][0] == info.step
        if code == 0:
            assert [info.step for info in listed] == [2]
            survived = True
            break
        assert code == -signal.SIGKILL
    assert survived
    assert call >= 8


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
