"""What `log`, `config`, `summary` and the rest write, in this process."""

from __future__ import annotations

import io
import math
import os
import time
from argparse import Namespace
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image as Picture

import trackside
from trackside.spool import sessions_in

Events = Callable[..., list[dict[str, Any]]]
pytestmark = pytest.mark.usefixtures("offline")


def points(offline: Events) -> list[tuple[int, dict[str, Any]]]:
    return [(event["step"], event["v"]) for event in offline("metrics")]


def kept_file(tmp_path: Path, sha256: str) -> bytes:
    (path,) = (tmp_path / "spool").glob(f"*/files/{sha256}")
    return path.read_bytes()


@pytest.mark.parametrize(
    ("value", "written"),
    [
        (0.1, 0.1),
        (3, 3),
        (True, 1),
        (math.nan, "NaN"),
        (math.inf, "Infinity"),
        (-math.inf, "-Infinity"),
        (np.float32(0.5), 0.5),
        (np.float64("nan"), "NaN"),
        (np.int64(7), 7),
        (np.bool_(False), 0),
        (np.array([2.5]), 2.5),
        (torch.tensor(1.5, requires_grad=True), 1.5),
        (torch.tensor([True]), 1),
        (Decimal("0.25"), 0.25),
        (10**30, 1e30),
        (10**400, "Infinity"),
    ],
)
def test_scalars(offline: Events, value: Any, written: Any) -> None:
    trackside.init().log({"x": value})
    assert points(offline) == [(0, {"x": written})]


def test_names_are_kept_as_they_are(offline: Events) -> None:
    names = ['a/b c/"d"', "損失 🙂", "\\back\nslash", "", "x" * 500]
    trackside.init().log(dict.fromkeys(names, 1))
    assert points(offline) == [(0, dict.fromkeys(names, 1))]


def test_nested_mappings_are_joined_by_slashes(offline: Events) -> None:
    trackside.init().log({"train": {"loss": 1.0, "acc": {"top1": 0.5}}, 3: 4})
    assert points(offline) == [(0, {"3": 4, "train/loss": 1.0, "train/acc/top1": 0.5})]


def test_steps_as_wandb_counts_them(offline: Events) -> None:
    run = trackside.init()
    run.log({"a": 1})
    run.log({"a": 2}, commit=False)
    run.log({"b": 2})
    run.log({"a": 10}, step=10)
    run.log({"b": 10}, step=10)
    run.log({"c": 10})
    run.log({"a": 11})
    assert [(step, *values.items()) for step, values in points(offline)] == [
        (0, ("a", 1)), (1, ("a", 2)), (1, ("b", 2)), (10, ("a", 10)), (10, ("b", 10)), (10, ("c", 10)), (11, ("a", 11)),
    ]  # fmt: skip


def test_steps_that_go_backwards_are_told_once(offline: Events, capsys: pytest.CaptureFixture[str]) -> None:
    run = trackside.init()
    for step in (5, 4, 3, 6):
        run.log({"a": step, "other": 1} if step == 3 else {"a": step}, step=step)
    assert points(offline) == [(5, {"a": 5}), (3, {"other": 1}), (6, {"a": 6})]
    assert capsys.readouterr().err.count("steps must increase") == 1


def test_without_a_step_nothing_is_lost_after_an_explicit_one(offline: Events) -> None:
    run = trackside.init()
    run.log({"a": 1}, step=5)
    run.log({"a": 2})
    assert points(offline) == [(5, {"a": 1}), (6, {"a": 2})]


def test_defined_metrics_have_steps_of_their_own(offline: Events) -> None:
    run = trackside.init()
    run.define_metric("epoch")
    run.define_metric("val/*", step_metric="epoch")
    run.define_metric("val/acc", summary="max")
    run.log({"loss": 1.0})
    run.log({"loss": 0.9})
    run.log({"val/acc": 0.9, "epoch": 0})
    run.log({"val/acc": 0.8, "epoch": 1, "loss": 0.7})
    run.finish()
    found = {name: [(s, v[name]) for s, v in points(offline) if name in v] for name in ("loss", "val/acc", "epoch")}
    assert found["loss"] == [(0, 1.0), (1, 0.9), (3, 0.7)]
    assert found["epoch"] == [(0, 0), (1, 1)]
    assert [value for _, value in found["val/acc"]] == [0.9, 0.8]
    assert offline("end")[0]["summary"] == {"val/acc.max": 0.9}


def test_config_is_checked_and_written(offline: Events) -> None:
    run = trackside.init(config=Namespace(lr=0.1, model={"depth": 3}, path=Path("/x"), seed=np.int64(4)))
    assert run.config.lr == run.config["lr"] == trackside.config.lr == 0.1
    run.config.update({"lr": 0.1, "extra": math.nan})
    with pytest.raises(trackside.ConfigError, match="allow_val_change"):
        run.config.lr = 0.2
    run.config.update({"lr": 0.2}, allow_val_change=True)
    run.config.batch = torch.float16
    assert "lr" in run.config
    assert run.config.get("none", 3) == 3
    written = [event["v"] for event in offline("config")]
    assert written[0] == {"lr": 0.1, "model": {"depth": 3}, "path": "/x", "seed": 4}
    assert written[1:] == [{"lr": 0.1, "extra": "NaN"}, {"lr": 0.2}, {"batch": "torch.float16"}]


def test_summary(offline: Events) -> None:
    run = trackside.init()
    run.log({"acc": 0.5})
    run.log({"acc": 0.75})
    assert run.summary["acc"] == trackside.summary["acc"] == 0.75
    run.summary["best"] = np.float32(0.5)
    run.summary.update({"nested": {"x": 1}})
    assert dict(run.summary) == {"acc": 0.75, "best": 0.5, "nested/x": 1}
    assert [event["v"] for event in offline("summary")] == [{"best": 0.5}, {"nested/x": 1}]


def test_images_and_texts(offline: Events, tmp_path: Path) -> None:
    run = trackside.init()
    array = np.arange(48, dtype=np.uint8).reshape(4, 4, 3)
    file = tmp_path / "picture.jpg"
    Picture.new("RGB", (2, 3)).save(file)
    images = [
        trackside.Image(array, caption="raw"),
        trackside.Image(torch.from_numpy(array.transpose(2, 0, 1)) / 255),
        trackside.Image(Picture.fromarray(array)),
    ]
    run.log({"samples": images, "note": "a text", "loss": 1, "none": None}, step=3)
    run.log_image("file", file, step=4)
    found = offline("image")
    assert [(event["key"], event["index"], event["step"], event["format"]) for event in found] == [
        ("samples", 0, 3, "png"), ("samples", 1, 3, "png"), ("samples", 2, 3, "png"), ("file", 0, 4, "jpeg"),
    ]  # fmt: skip
    assert found[0]["caption"] == "raw"
    for event in found[:3]:
        data = kept_file(tmp_path, event["sha256"])
        assert len(data) == event["size"]
        assert (np.asarray(Picture.open(io.BytesIO(data)).convert("RGB")) == array).all()
    assert kept_file(tmp_path, found[3]["sha256"]) == file.read_bytes()
    assert [(event["key"], event["text"], event["step"]) for event in offline("text")] == [("note", "a text", 3)]


@pytest.mark.parametrize(
    ("array", "pixel"),
    [
        (np.full((2, 2), 0.5), 127),
        (np.full((2, 2), -1.0), 0),
        (np.full((2, 2), 300), 255),
        (np.ones((2, 2), bool), 255),
        (np.full((2, 2, 1), np.nan), 0),
    ],
)
def test_ranges_of_pixels(array: Any, pixel: int) -> None:
    decoded = np.asarray(Picture.open(io.BytesIO(trackside.Image(array).data)))
    assert set(decoded.ravel()) == {pixel}


def test_what_cannot_be_recorded_is_told_once_per_type(offline: Events, capsys: pytest.CaptureFixture[str]) -> None:
    run = trackside.init()
    for _ in range(3):
        run.log({"h": trackside.Histogram([1, 2]), "t": trackside.Table(columns=["a"]), "w": np.zeros(10), "loss": 1})
    said = capsys.readouterr().err
    assert [said.count(f"a {kind} is not") for kind in ("Histogram", "Table", "ndarray")] == [1, 1, 1]
    assert [values for _, values in points(offline)] == [{"loss": 1}] * 3


def test_large_images_are_refused(offline: Events, capsys: pytest.CaptureFixture[str]) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (2700, 2700, 3), dtype=np.uint8)
    trackside.init().log({"noise": trackside.Image(noise), "loss": 1})
    assert "at most 20 MiB" in capsys.readouterr().err
    assert offline("image") == []
    assert points(offline) == [(0, {"loss": 1})]


def test_saved_files_are_copied(offline: Events, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "weights").mkdir()
    for name in ("a.pt", "b.pt"):
        (tmp_path / "weights" / name).write_text(name)
    run = trackside.init()
    assert len(run.save("weights/*.pt")) == 2
    (tmp_path / "weights" / "a.pt").write_text("changed")
    Path(run.dir, "model.txt").write_text("in the run's own folder")
    assert run.save("missing*") == []
    run.finish()
    found = {event["path"]: kept_file(tmp_path, event["sha256"]) for event in offline("file")}
    assert found == {"weights/a.pt": b"a.pt", "weights/b.pt": b"b.pt", "model.txt": b"in the run's own folder"}


def test_a_hundred_thousand_series(offline: Events) -> None:
    run = trackside.init()
    for _ in range(2):
        run.log({f"layer/{i}/norm": i for i in range(100_000)})
    found = points(offline)
    assert {step: sum(len(v) for s, v in found if s == step) for step in (0, 1)} == {0: 100_000, 1: 100_000}
    assert max(len(values) for _, values in found) == 4000


def test_other_ranks_log_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("RANK", "SLURM_PROCID"):
        monkeypatch.setenv(name, "1")
        run = trackside.init(project="p")
        run.log({"a": 1})
        run.config.lr = 3
        assert run.config.lr == 3
        run.summary["x"] = 1
        run.log_image("i", np.zeros((2, 2)))
        assert run.save(__file__) == []
        trackside.finish()
        monkeypatch.delenv(name)
    assert not (tmp_path / "spool").exists()
    monkeypatch.setenv("RANK", "0")
    trackside.init()
    assert len(sessions_in(tmp_path / "spool")) == 1


def test_disabled(tmp_path: Path) -> None:
    with trackside.init(mode="disabled", config={"a": 1}) as run:
        run.log({"x": 1})
        assert run.config.a == 1
    trackside.finish()
    assert not (tmp_path / "spool").exists()


def test_a_forked_child_never_writes(offline: Events) -> None:
    run = trackside.init()
    run.log({"a": 1})
    pid = os.fork()
    if pid == 0:
        run.log({"a": 2})
        run.finish()
        os._exit(0 if run.disabled else 1)
    assert os.waitpid(pid, 0)[1] == 0
    run.log({"a": 3})
    assert points(offline) == [(0, {"a": 1}), (1, {"a": 3})]
    assert offline("end") == []


def test_a_clock_that_jumps_changes_nothing_but_the_times(offline: Events, monkeypatch: pytest.MonkeyPatch) -> None:
    run = trackside.init()
    for now in (1e9, 5e8, 1e10):
        monkeypatch.setattr(time, "time", lambda now=now: now)
        run.log({"a": 1})
    assert [(event["step"], event["t"]) for event in offline("metrics")] == [(0, 1e9), (1, 5e8), (2, 1e10)]


def test_mistakes_in_calls(offline: Events, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(trackside.Error, match="before"):
        trackside.log({"a": 1})
    with pytest.raises(trackside.UsageError, match="id is"):
        trackside.init(id="not/allowed")
    with pytest.raises(trackside.UsageError, match="mode is"):
        trackside.init(mode="sometimes")
    run = trackside.init(sync_tensorboard=True, monitor_gym=False)
    assert "monitor_gym, sync_tensorboard is passed over" in capsys.readouterr().err
    assert trackside.run is run
    assert trackside.init() is run
    with pytest.raises(trackside.UsageError):
        run.log([1])  # type: ignore[arg-type]
    run.log({"a": 1}, step=-1)
    assert offline("metrics") == []


def test_a_full_disk_never_raises(offline: Events, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    run = trackside.init()
    (session,) = sessions_in(tmp_path / "spool")
    full = os.open("/dev/full", os.O_WRONLY)
    assert run._events is not None
    kept, run._events._fd = run._events._fd, full
    for _ in range(3):
        run.log({"a": 1})
    assert capsys.readouterr().err.count("No space left on device") == 1
    run._events._fd = kept
    os.close(full)
    run.log({"a": 2})
    assert session.events.exists()
    assert points(offline) == [(3, {"a": 2})]
