"""Runs in the files of W&B are imported: one that its library has written, and others written here."""

from __future__ import annotations

import json
import math
import shutil
import sys
import zlib
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.client.conftest import Scripts, finished
from tests.client.protocol_server import KnownRun, ProtocolServer
from trackside.imports.content import Content
from trackside.imports.items import Ending, Unusable
from trackside.imports.protobuf import double, message, number
from trackside.png import encode_png
from trackside.wandb_files.source import WandbFile, find
from trainer.rundir.event_shapes import SCRIPT_SHAPES, is_well_formed

REAL = Path(__file__).parent / "wandb_0_31.wandb"  # written by wandb 0.31
PNG = encode_png(bytes(range(48)), 4, 4, 3)
BEGAN = 1.7e9
BLOCK = 1 << 15
RUN = message(17, message(1, "abc") + message(3, "p") + message(17, number(1, int(BEGAN))))
EXIT = message(18, number(1, 0) + number(2, 60))


def log_of(*records: bytes) -> bytes:
    """A log with these records, in blocks."""
    log = b":W&B\xe1\xbe\0"
    for record in records:
        kind = 0  # what was written of the record: 0 nothing, 2 its beginning
        while record or not kind:
            left = BLOCK - len(log) % BLOCK
            if left < 7:
                log += bytes(left)
                continue
            part, record = record[: left - 7], record[left - 7 :]
            chunk = bytes([(3 if record else 4) if kind else (2 if record else 1)]) + part
            log += zlib.crc32(chunk).to_bytes(4, "little") + len(part).to_bytes(2, "little") + chunk
            kind = 2
    return log


def run_file(folder: Path, *records: bytes, name: str = "run-abc.wandb") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(log_of(*records))
    return folder / name


def item(keys: list[str], value: Any) -> bytes:
    """An item as before version 0.31: JSON, under one key or a nested one."""
    shown = message(1, keys[0]) if len(keys) == 1 else b"".join(message(2, key) for key in keys)
    return message(1, shown + message(16, json.dumps(value)))


def history(step: int, **values: Any) -> bytes:
    known = {**values, "_step": step, "_timestamp": BEGAN + step}
    return message(2, b"".join(item([key], value) for key, value in known.items()))


def config(**values: Any) -> bytes:
    return message(5, b"".join(item([key], value) for key, value in values.items()))


def output(text: str, kind: int = 1, second: int = 1) -> bytes:
    return message(13, number(1, kind) + message(2, number(1, int(BEGAN) + second)) + message(3, text))


@dataclass(frozen=True)
class Found:
    """What is read of a file."""

    events: list[dict[str, Any]]
    left_out: str
    ending: Ending

    def of(self, kind: str) -> list[dict[str, Any]]:
        return [event for event in self.events if event["e"] == kind]

    @property
    def points(self) -> dict[str, list[tuple[int, Any]]]:
        found: dict[str, list[tuple[int, Any]]] = {}
        for event in self.of("metrics"):
            for name, value in event["v"].items():
                found.setdefault(name, []).append((event["step"], value))
        return found


def read(path: Path) -> Found:
    """Raises Unusable."""
    source = WandbFile(path)
    with closing(Content(source)) as content:
        content.read()
        source.described()
        events = [json.loads(line) for line in content.bytes_at(0, content.size).splitlines()]
        assert all(is_well_formed(event, SCRIPT_SHAPES) for event in events)
        return Found(events, content.left_out_in_words(), source.ending())


def command(*words: str) -> list[str]:
    return [sys.executable, "-m", "trackside", "import", "wandb", *words]


def only_run(server: ProtocolServer) -> KnownRun:
    (run,) = server.runs.values()
    return run


def test_a_run_that_wandb_has_written(scripts: Scripts, protocol_server: ProtocolServer) -> None:
    folder = scripts.folder / "wandb" / "offline-run-20261130_185115-abc123xy"
    folder.mkdir(parents=True)
    shutil.copy(REAL, folder / "run-abc123xy.wandb")
    (scripts.folder / "wandb" / "latest-run").symlink_to(folder)
    said = finished(scripts.command(command("wandb")))
    assert "first: 34 values" in said
    assert "left out 1 values of type histogram." in said
    run = only_run(protocol_server)
    assert {key: run.announced[key] for key in ("name", "project", "group", "notes", "tags")} == {
        "name": "first", "project": "digits", "group": "seeds", "notes": "one\ntwo", "tags": ["a", "b"],
    }  # fmt: skip
    assert all(is_well_formed(event, SCRIPT_SHAPES) for event in run.events())
    assert next(iter(protocol_server.runs)).startswith("wb-abc123xy-")
    assert [event["v"] for event in run.events("config")] == [{"lr": 0.1, "opt": {"name": "sgd"}}]
    assert run.points("train/loss") == [(step, 1 / (step + 1)) for step in range(12)]
    assert run.points("count") == [(step, step) for step in range(12)]
    assert run.points("bad") == [(0, "NaN"), (1, "Infinity"), (2, "-Infinity")]
    assert run.points("nested/a") == [(0, 0), (1, 1), (2, 2)]
    assert run.points("val/acc") == [(1, 0.25), (2, 0.5)]
    assert [(event["step"], event["text"]) for event in run.events("text")] == [(4, "hello")]
    assert [event["line"] for event in run.events("log")] == ["printed"]
    assert [event["v"] for event in run.events("summary")] == [{"best": 0.5}]
    environment = run.events("environment")[0]["v"]
    assert (environment["host"], environment["job_type"], environment["wandb_run"]) == ("host", "train", "abc123xy")
    end = run.events("end")[0]
    assert (end["status"], end["exit_code"]) == ("failed", 3)
    assert "first: nothing is new" in finished(scripts.command(command(str(folder / "run-abc123xy.wandb"))))
    assert len(run.sessions) == len(protocol_server.runs) == 1


def test_values_of_every_form(tmp_path: Path) -> None:
    typed = [
        (["none"], number(3, 0)), (["yes"], number(4, 1)), (["less"], number(5, 5)), (["half"], double(6, 0.5)),
        (["deep", "er"], double(6, math.nan)), (["word"], message(7, "hi")), (["list"], message(8, "[1]")),
        (["more"], message(8, "7")),
    ]  # fmt: skip
    row = b"".join(message(1, b"".join(message(2, key) for key in keys) + value) for keys, value in typed)
    path = run_file(
        tmp_path, RUN, message(2, row + message(2, number(1, 4))),
        history(5, a=1e300, old={"b": {"c": -2}}, text="NaN", words="x", huge=10**400, nothing=None, flag=False),
    )  # fmt: skip
    assert read(path).points == {
        "yes": [(4, 1)], "less": [(4, -3)], "half": [(4, 0.5)], "deep/er": [(4, "NaN")], "more": [(4, 7)],
        "a": [(5, 1e300)], "old/b/c": [(5, -2)], "text": [(5, "NaN")], "huge": [(5, "Infinity")], "flag": [(5, 0)],
    }  # fmt: skip
    assert [(event["key"], event["text"]) for event in read(path).of("text")] == [("word", "hi"), ("words", "x")]
    assert read(path).left_out == "1 lists"
    assert [event["t"] for event in read(path).of("metrics")] == [BEGAN, BEGAN + 5]


def test_a_row_of_many_values(tmp_path: Path) -> None:
    values = {f"a/{number}": number for number in range(5000)}
    found = read(run_file(tmp_path, RUN, history(1, **values)))
    assert [len(event["v"]) for event in found.of("metrics")] == [4000, 1000]
    assert {name: series[0][1] for name, series in found.points.items()} == values


def test_steps_only_increase(tmp_path: Path) -> None:
    metric = message(12, message(2, "val/*") + message(4, "epoch"))
    path = run_file(
        tmp_path, RUN, history(3, a=1), history(3, a=2), history(2, a=3, b=1), metric,
        history(4, **{"epoch": 1, "val/x": 5}), history(5, **{"epoch": 1, "val/x": 6}), history(6, **{"val/y": 7}),
        history(7, **{"epoch": 1.5, "val/x": 8}),
    )  # fmt: skip
    found = read(path).points
    assert (found["a"], found["b"]) == ([(3, 1)], [(2, 1)])
    assert (found["val/x"], found["val/y"]) == ([(1, 5), (7, 8)], [(1, 7)])
    assert found["epoch"] == [(1, 1), (7, 1.5)]
    assert read(path).left_out == "3 values at steps that were passed already"


def test_images_are_read_from_the_files_of_the_run(tmp_path: Path) -> None:
    folder = tmp_path / "run-abc"
    (folder / "files" / "media" / "images").mkdir(parents=True)
    (folder / "secret.png").write_bytes(PNG)
    for name in ("a.png", "b.png"):
        (folder / "files" / "media" / "images" / name).write_bytes(PNG)
    several = {
        "_type": "images/separated", "captions": ["one", None, "three"],
        "filenames": ["media/images/a.png", "media/images/gone.png", "media/images/b.png"],
    }  # fmt: skip
    path = run_file(
        folder, RUN, history(1, x={"_type": "image-file", "path": "media/images/a.png", "caption": "hé"}),
        history(2, y=several, z={"_type": "image-file", "path": "../secret.png"}, t={"_type": "table-file"}),
    )  # fmt: skip
    found = [(event["key"], event["step"], event["index"], event.get("caption")) for event in read(path).of("image")]
    assert found == [("x", 1, 0, "hé"), ("y", 2, 0, "one"), ("y", 2, 1, "three")]
    said = read(path).left_out
    assert said == "2 images whose files are missing, 1 values of type table-file"


def test_output_configuration_and_environment(tmp_path: Path) -> None:
    environment = message(26, message(2, "CPython 3.12.1") + message(5, "--lr") + message(5, "1") + message(6, "t.py"))
    path = run_file(
        tmp_path, RUN, config(_wandb={}, lr=1, x=math.inf), environment, output("a"), output("b\nerr", second=2),
        output("warn\n", kind=0, second=3), history(0, a=1), config(lr=2), output("1%\r2%\r", second=4),
        message(10, message(1, "title") + message(2, "text")),
        message(3, item(["a"], 1) + item(["best"], 9) + item(["in", "ner"], "x") + item(["gone"], 1)),
        message(3, message(2, message(1, "gone")) + item(["_runtime"], 5)), EXIT,
    )  # fmt: skip
    (tmp_path / "files").mkdir()
    known = {"host": "h", "python": "old", "git": {"commit": "c0ffee", "remote": "r"}, "gpu": "A", "gpu_count": 2}
    (tmp_path / "files" / "wandb-metadata.json").write_text(json.dumps(known))
    (tmp_path / "files" / "requirements.txt").write_text("numpy==2.0\n-e somewhere\n")
    assert [event["v"] for event in read(path).of("config")] == [{"lr": 1, "x": "Infinity"}, {"lr": 2}]
    lines = [(event["t"] - BEGAN, event["line"]) for event in read(path).of("log")]
    assert lines == [(2, "ab"), (3, "warn"), (4, "2%")]
    assert [event["v"] for event in read(path).of("summary")] == [{"best": 9, "in/ner": "x"}]
    assert [event["text"] for event in read(path).of("text")] == ["title\ntext"]
    (found,) = read(path).of("environment")
    assert found["v"] == {
        "command": ["python", "t.py", "--lr", "1"], "python": "3.12.1", "host": "h", "gpus": ["A", "A"],
        "packages": {"numpy": "2.0"}, "wandb_run": "abc",
        "git": {"commit": "c0ffee", "remote": "r", "dirty": False, "diff": "", "diff_truncated": False},
    }  # fmt: skip
    assert read(path).ending == Ending("finished", 0, BEGAN + 60)


def test_records_across_blocks(tmp_path: Path) -> None:
    records = [history(step, a=step, text="x" * (length or 1)) for step, length in enumerate((0, 100_000, 32_500, 0))]
    path = run_file(tmp_path, RUN, *records, *(history(step, a=step) for step in range(4, 2000)), EXIT)
    assert read(path).points["a"] == [(step, step) for step in range(2000)]
    assert not read(path).left_out
    for left in range(10):  # bytes of a block, which may be fewer than a header has
        alert = "x" * (BLOCK - len(log_of(RUN)) - 7 - 8 - left)
        path = run_file(tmp_path, RUN, message(10, message(1, alert)), history(0, a=1))
        assert len(log_of(RUN, message(10, message(1, alert)))) == BLOCK - left
        assert read(path).points == {"a": [(0, 1)]}


def test_what_is_whole_before_a_damage_is_imported(tmp_path: Path) -> None:
    whole = log_of(RUN, *(history(step, a=step) for step in range(2)), EXIT)
    ends = [len(log_of(RUN, *(history(step, a=step) for step in range(count)))) for count in range(3)]
    path = tmp_path / "run-abc.wandb"
    for cut in range(len(whole) + 1):
        path.write_bytes(whole[:cut])
        if cut < ends[0]:
            with pytest.raises(Unusable):
                read(path)
            continue
        found = read(path)
        at = max(end for end in ends if end <= cut)
        assert len(found.of("metrics")) == ends.index(at)
        is_whole = cut in (*ends, len(whole))
        assert found.left_out == ("" if is_whole else f"run-abc.wandb from byte {at:,} on (it is truncated)")
        assert found.ending.status == ("finished" if cut == len(whole) else "stopped")
    for at in range(ends[0], ends[1]):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
        assert read(path).points == {}
        assert f"run-abc.wandb from byte {ends[0]:,} on (" in read(path).left_out
    path.write_bytes(whole[: ends[1]] + bytes(500))
    assert "(nothing was written there)" in read(path).left_out


def test_every_record_that_is_cut_is_read_or_refused(tmp_path: Path) -> None:
    for record in (RUN, EXIT, history(3, a={"b": 1}), config(a=[1]), output("text\n")):
        path = run_file(
            tmp_path, RUN, *(record[:end] for end in range(len(record))), message(2, message(16, "[" * 9999))
        )
        read(path)
    path = run_file(tmp_path, RUN, *(message(field, b"\xff" * 20) for field in range(1, 30)), *[number(17, 1)] * 2)
    assert "records that are not as W&B writes them" in read(path).left_out


def test_a_run_that_goes_on(imported: Callable[..., str], protocol_server: ProtocolServer, tmp_path: Path) -> None:
    folder = tmp_path / "offline-run-1"
    rows = [history(step, a=step) for step in range(6)]
    for count, last in ((2, b""), (6, b""), (6, EXIT)):
        run_file(folder, RUN, *rows[:count], *filter(None, [last]))
        imported("wandb", tmp_path, "--name", "mine", "--project", "other")
        run = only_run(protocol_server)
        assert run.points("a") == [(step, step) for step in range(count)]
    assert [run.events("end", session)[0]["status"] for session in run.sessions] == ["stopped", "stopped", "finished"]
    assert (run.announced["name"], run.announced["project"]) == ("mine", "other")
    before = {session: bytes(held) for session, held in run.sessions.items()}
    assert "nothing is new" in imported("wandb", tmp_path)
    assert before == run.sessions
    # An import that was interrupted goes on.
    newest = run.sessions[run.newest]
    del newest[newest.index(b"\n") + 1 :]
    imported("wandb", tmp_path)
    assert before == run.sessions


def test_what_is_no_run_is_told(imported: Callable[..., str], protocol_server: ProtocolServer, tmp_path: Path) -> None:
    said = imported("wandb", tmp_path, status=1)
    assert "holds no runs of W&B (wandb/offline-run-*/*.wandb, wandb/run-*/*.wandb)" in said
    (tmp_path / "offline-run-1").mkdir()
    (tmp_path / "offline-run-1" / "run-a.wandb").write_bytes(b"something else")
    run_file(tmp_path / "run-2", EXIT)
    run_file(tmp_path / "run-3", RUN)
    said = imported("wandb", tmp_path, "--name", "all", status=1)
    assert "run-a.wandb is not imported: it does not begin as a file of W&B." in said
    assert "run-abc.wandb is not imported: it holds no run." in said
    assert only_run(protocol_server).announced["name"] == "all/abc"
    with pytest.raises(SystemExit):
        imported("wandb", tmp_path, "--follow")
    assert [source.path for source in find(tmp_path / "run-3")] == [str(tmp_path / "run-3/run-abc.wandb")]
