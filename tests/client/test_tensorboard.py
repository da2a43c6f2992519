"""Event files of TensorBoard are imported, again and while they grow, and written from runs."""

from __future__ import annotations

import json
import math
import signal
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.client.conftest import Scripts, finished
from tests.client.protocol_server import KnownRun, ProtocolServer
from tests.conftest import wait_for
from trackside.imports.content import Content
from trackside.imports.protobuf import double, message, number
from trackside.png import encode_png
from trackside.tensorboard.decoding import HPARAMS_TAG
from trackside.tensorboard.encoding import (
    images_record,
    scalar_record,
    settings_record,
    text_record,
    version_record,
)  # fmt: skip
from trackside.tensorboard.records import RecordFile, framed, masked_crc
from trackside.tensorboard.source import EventFiles

PNG = encode_png(bytes(range(48)), 4, 4, 3)
FIRST = 1.7e9
NAME = "events.out.tfevents.1700000000.host.1.0"
# Written by tensorboard 2.21: the version, and the scalar v1/x at step 300.
REAL = bytes.fromhex(
    "4800000000000000fe92489d09e34b1d3569c3da411a0d627261696e2e4576656e743a32522e0a2c74656e736f72626f6172642e73756d6d61"
    "72792e7772697465722e6576656e745f66696c655f777269746572394fa97e1b000000000000001a0d9e13090000000065cddd4110ac022a0d"
    "0a0b0a0476312f7815abaaaa3e5e901b37"
)


def event_file(folder: Path, *records: bytes, name: str = NAME) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / name
    path.write_bytes(version_record(FIRST) + b"".join(records))
    return path


def losses(*steps: int, name: str = "loss", scale: float = 0.5) -> bytes:
    return b"".join(scalar_record(FIRST + step, step, name, scale * step) for step in steps)


def lines_of(folder: Path, *kinds: str) -> list[dict[str, Any]]:
    content = Content(EventFiles(folder))
    content.read()
    found = [json.loads(line) for line in content.bytes_at(0, content.size).splitlines()]
    content.close()
    return [event for event in found if not kinds or event["e"] in kinds]


def test_what_tensorboard_writes_and_reads(tmp_path: Path) -> None:
    path = event_file(tmp_path)
    path.write_bytes(REAL)
    assert lines_of(tmp_path) == [{"e": "metrics", "t": 2e9, "step": 300, "v": {"v1/x": 0.3333333432674408}}]
    assert REAL.endswith(scalar_record(2e9, 300, "v1/x", 1 / 3))


def test_checksums_are_those_of_crc32c() -> None:
    # RFC 3720, B.4: CRC-32C of 32 zero bytes, and of the bytes 0 to 31.
    for data, crc in ((bytes(32), 0x8A9136AA), (bytes(range(32)), 0x46DD794E), (b"123456789", 0xE3069283)):
        assert masked_crc(data) == (((crc >> 15) | (crc << 17)) + 0xA282EAD8) & 0xFFFFFFFF


def test_everything_that_is_written_is_read(tmp_path: Path) -> None:
    settings = {"lr": 0.1, "optimizer": {"name": "adam"}, "nesterov": True, "epochs": 5, "sizes": [1, 2]}
    values = [0.1, math.nan, math.inf, -math.inf, 1e300]
    scalars = (scalar_record(FIRST + step, step, 'a/ b 🙂 "c"', value) for step, value in enumerate(values))
    event_file(
        tmp_path, settings_record(FIRST, settings), *scalars, text_record(FIRST, 2, "note", "hé\nllo"),
        images_record(FIRST, 4, "sample", [PNG, PNG], 4, 4), scalar_record(FIRST, 0, "x" * 200, 1),
    )  # fmt: skip
    found = lines_of(tmp_path)
    shown = {"lr": 0.1, "optimizer/name": "adam", "nesterov": True, "epochs": 5, "sizes": "[1, 2]"}
    assert found[0] == {"e": "config", "t": FIRST, "v": shown}
    metrics = [next(iter(event["v"].items())) for event in found if event["e"] == "metrics"]
    read = [0.10000000149011612, "NaN", "Infinity", "-Infinity", "Infinity"]
    assert metrics == [*(('a/ b 🙂 "c"', value) for value in read), ("x" * 200, 1.0)]
    assert [event["text"] for event in found if event["e"] == "text"] == ["hé\nllo"]
    assert [(event["step"], event["index"]) for event in found if event["e"] == "image"] == [(4, 0), (4, 1)]


def test_steps_are_sorted_and_the_last_value_counts(tmp_path: Path) -> None:
    event_file(tmp_path, losses(0, 1, 2, 3), losses(0, 5, 10, name="val"))
    event_file(tmp_path, losses(2, 3, 4, scale=9.0), name=NAME.replace("1700000000", "1700000009"))
    found = [(event["step"], *event["v"].items()) for event in lines_of(tmp_path)]
    values = {name: [(step, item[1]) for step, item in found if item[0] == name] for name in ("loss", "val")}
    assert values["loss"] == [(0, 0.0), (1, 0.5), (2, 18.0), (3, 27.0), (4, 36.0)]
    assert values["val"] == [(0, 0.0), (5, 2.5), (10, 5.0)]


def test_damaged_and_truncated_files(tmp_path: Path) -> None:
    whole = losses(0, 1, 2, 3)
    size = len(whole) // 4
    damaged = bytearray(whole)
    damaged[size + 20] ^= 1  # in the data of the second record
    path = event_file(tmp_path, bytes(damaged))
    content = Content(EventFiles(tmp_path))
    content.read()
    assert (content.points, content.left_out_in_words()) == (3, "1 records with a wrong checksum")
    content.close()
    damaged[2 * size] ^= 1  # in the length of the third
    event_file(tmp_path, bytes(damaged))
    content = Content(EventFiles(tmp_path))
    content.read()
    assert content.points == 1
    assert f"{NAME} from a damaged place on" in content.left_out_in_words()
    content.close()
    event_file(tmp_path, whole[:-1], framed(b"\xff")[:3])
    assert len(lines_of(tmp_path)) == 3
    event_file(tmp_path, framed(b"\x0f\x0f"), framed(b"\x2a\x7f"), framed(b""), losses(0))
    assert len(lines_of(tmp_path)) == 1
    for cut in range(len(path.read_bytes())):
        path.write_bytes((version_record(FIRST) + settings_record(FIRST, {"a": 1}) + losses(7))[:cut])
        lines_of(tmp_path)


def test_every_event_that_is_cut_is_read_or_refused(tmp_path: Path) -> None:
    for record in (
        scalar_record(FIRST, 2**40, "loss", 1),
        settings_record(FIRST, {"a": "b"}),
        text_record(0, 1, "t", "x"),
    ):
        data = record[12:-4]
        event_file(tmp_path, *(framed(data[:end]) for end in range(len(data))))
        assert len(lines_of(tmp_path)) <= 1


def test_a_file_that_grows_only_adds_lines(tmp_path: Path) -> None:
    path = event_file(tmp_path, losses(0, 1))
    content = Content(EventFiles(tmp_path))
    with path.open("ab") as file:
        content.read()
        for step in range(2, 50):
            record = losses(step) + losses(step // 10, name="epoch") * (step % 10 == 0)
            file.write(record[:-5])
            file.flush()
            content.read()
            file.write(record[-5:])
            file.flush()
            content.read()
    again = Content(EventFiles(tmp_path))
    again.read()
    assert content.bytes_at(0, content.size) == again.bytes_at(0, again.size)
    assert not content.read()
    content.close()
    again.close()


def test_many_tags(tmp_path: Path) -> None:
    event_file(tmp_path, *(scalar_record(FIRST, 1, f"tag/{number}", number) for number in range(100_000)))
    assert len(lines_of(tmp_path)) == 100_000


def test_records_longer_than_a_block(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trackside.tensorboard.records.BLOCK", 16)
    path = event_file(tmp_path, losses(0, 1, 2))
    assert len(list(RecordFile(path).read())) == 4


def test_a_setting_that_is_not_finite(tmp_path: Path) -> None:
    infinite = message(1, message(1, "a") + message(2, double(2, math.inf)))
    content = message(9, message(1, message(1, "hparams") + message(2, message(3, infinite))))
    event_file(
        tmp_path, framed(double(1, 1.0) + number(2, 0) + message(5, message(1, message(1, HPARAMS_TAG) + content)))
    )
    assert lines_of(tmp_path)[0]["v"] == {"a": "inf"}


def command(*words: str) -> list[str]:
    return [sys.executable, "-m", "trackside", "import", "tensorboard", *words]


def run_named(server: ProtocolServer, name: str) -> KnownRun:
    (found,) = [run for run in server.runs.values() if run.announced["name"] == name]
    return found


def test_each_folder_is_a_run(scripts: Scripts, protocol_server: ProtocolServer) -> None:
    logs = scripts.folder / "logs"
    event_file(logs / "a" / "train 🙂", losses(*range(100)), images_record(FIRST, 1, "sample", [PNG], 4, 4))
    event_file(logs / "b", losses(1))
    event_file(logs, losses(2))
    said = finished(scripts.command(command("logs", "--project", "p")))
    assert "100 values" in said
    assert {run.announced["name"] for run in protocol_server.runs.values()} == {"logs", "a/train 🙂", "b"}
    run = run_named(protocol_server, "a/train 🙂")
    assert (run.announced["group"], run.announced["project"]) == ("logs", "p")
    assert run.points("loss") == [(step, step * 0.5) for step in range(100)]
    assert [event["t"] for event in run.events("metrics")] == [FIRST + step for step in range(100)]
    assert list(run.files.values()) == [PNG]
    assert run.events("end")[0]["status"] == "finished"


def test_an_import_is_repeated(scripts: Scripts, protocol_server: ProtocolServer) -> None:
    logs = scripts.folder / "logs"
    path = event_file(logs, losses(0, 1))
    finished(scripts.command(command("logs")))
    run = run_named(protocol_server, "logs")
    before = {session: bytes(held) for session, held in run.sessions.items()}
    assert "nothing is new" in finished(scripts.command(command("logs")))
    assert before == run.sessions
    for step in (2, 3):
        with path.open("ab") as file:
            file.write(losses(step))
        finished(scripts.command(command("logs")))
        assert run.points("loss") == [(known, known * 0.5) for known in range(step + 1)]
    assert len(run.sessions) == 3
    # A step that is logged again is not an addition.
    with path.open("ab") as file:
        file.write(losses(2, scale=7.0))
    assert "imported anew" in finished(scripts.command(command("logs")))
    assert run.events("start")[0]["from_step"] == 0
    assert [event["v"]["loss"] for event in run.events("metrics")] == [0.0, 0.5, 14.0, 1.5]
    assert "nothing is new" in finished(scripts.command(command("logs")))
    assert len(run.sessions) == 4
    assert len(protocol_server.runs) == 1


def test_an_import_that_was_interrupted_goes_on(scripts: Scripts, protocol_server: ProtocolServer) -> None:
    event_file(scripts.folder / "logs", losses(*range(1000)))
    finished(scripts.command(command("logs")))
    run = run_named(protocol_server, "logs")
    whole = bytes(run.sessions[run.newest])
    lines = whole.splitlines(keepends=True)
    for kept in (0, 1, 2, 500, 1001):
        run.sessions[run.newest][:] = b"".join(lines[:kept])
        finished(scripts.command(command("logs")))
        assert bytes(run.sessions[run.newest]) == whole
    assert len(run.sessions) == 1


def test_a_directory_is_followed(scripts: Scripts, protocol_server: ProtocolServer) -> None:
    path = event_file(scripts.folder / "logs" / "a", losses(0))
    process = scripts.command(command("logs", "--follow"))
    run = wait_for(lambda: next(iter(protocol_server.runs.values()), None), what="the run")
    wait_for(lambda: run.points("loss"), what="the first point")
    with path.open("ab") as file:
        file.write(losses(1, 2) + losses(3)[:9])
    wait_for(lambda: len(run.points("loss")) == 3, what="new points")
    event_file(scripts.folder / "logs" / "b", losses(0))
    wait_for(lambda: len(protocol_server.runs) == 2 and run_named(protocol_server, "b").points("loss"), what="run b")
    assert not run.events("end")
    process.send_signal(signal.SIGINT)
    finished(process)
    assert [len(one.events("end")) for one in protocol_server.runs.values()] == [1, 1]
    with path.open("ab") as file:
        file.write(losses(3)[9:])
    finished(scripts.command(command("logs")))
    assert run.points("loss") == [(0, 0.0), (1, 0.5), (2, 1.0), (3, 1.5)]


def test_what_cannot_be_imported_is_told(scripts: Scripts, protocol_server: ProtocolServer) -> None:
    assert "holds no event files" in finished(scripts.command(command("nothing")), 1)
    event_file(scripts.folder / "logs", losses(0))
    protocol_server.token = "secret"
    assert "Set TRACKSIDE_TOKEN" in finished(scripts.command(command("logs")), 1)
    protocol_server.stop()
    assert "Repeat the command" in finished(scripts.command(command("logs")), 1)
    export = [sys.executable, "-m", "trackside", "export", "tensorboard", "run", "-o", "out"]
    assert "run is not exported" in finished(scripts.command(export), 1)
    assert not list((scripts.folder / "out").iterdir())
