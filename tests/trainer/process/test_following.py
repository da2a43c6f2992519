"""A rank on a seat of its own, before it has met rank 0."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

from tests.conftest import wait_for
from trainer.process.following import LOST
from trainer.process.meeting import Meeting, listen, proven
from trainer.rundir.folder import RunDir

SECRET = "of this attempt"
FOLLOWER = """
import json, sys
from trainer.process.assignment import FollowAssignment
from trainer.process.following import run_follower
sys.exit(run_follower(FollowAssignment(**json.loads(sys.argv[1]))))
"""


def test_a_machine_that_leaves_while_its_rank_connects_is_told_to_rank_0(tmp_path: Path) -> None:
    RunDir(tmp_path).make_folders()
    with listen("127.0.0.1") as server:
        server.settimeout(30)
        meeting = Meeting("127.0.0.1", server.getsockname()[1], SECRET)
        assignment = {
            "run_dir": str(tmp_path), "datasets": str(tmp_path), "device": "cpu", "attempt": 1, "rank": 1, "size": 2,
            "address": "127.0.0.1", "sharing": 2, "meeting": json.loads(meeting.as_bytes()),
        }  # fmt: skip
        follower = subprocess.Popen([sys.executable, "-c", FOLLOWER, json.dumps(assignment)])
        try:
            link, _ = server.accept()
            follower.send_signal(signal.SIGTERM)
            assert proven(link, SECRET) is not None
            link.settimeout(30)
            assert json.loads(link.recv(100)) == {"leaves": True}
            link.close()
            assert wait_for(follower.poll, 30, "the follower's end") == LOST
        finally:
            follower.kill()
            follower.wait()
