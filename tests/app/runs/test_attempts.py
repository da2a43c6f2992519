from __future__ import annotations

from pathlib import Path

import pytest

from app.runs.attempts import Attempt, attempts_of

START = (
    '{"e":"start","t":%s,"from_step":%s,"total_steps":9,"steps_per_epoch":3,"epochs":3,"val_count":1,"device":"cpu"}\n'
)
METRICS = '{"e":"metrics","t":%s,"step":%s,"v":{"train/loss":1.0}}\n'


def test_each_attempt_has_its_first_step_start_and_end(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder = tmp_path / "events"
    folder.mkdir()
    (folder / "1.jsonl").write_text(START % (10.0, 0) + "".join(METRICS % (10.0 + n, n) for n in range(1, 3000)))
    (folder / "2.jsonl").write_text("")  # killed before its first event
    (folder / "3.jsonl").write_text(START % (9000.0, 2990) + METRICS % (9001.0, 2991) + '{"e":"met')
    assert attempts_of(tmp_path) == [Attempt(1, 0, 10.0, 3009.0), Attempt(3, 2990, 9000.0, 9001.0)]
    assert attempts_of(tmp_path / "none") == []
    assert caplog.records == []  # the end of a file is read from the middle of a line, which is no fault of the file
