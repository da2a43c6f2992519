"""`trackside export`: write a run of any kind as an event file, which TensorBoard reads."""

from __future__ import annotations

import argparse
import csv
import io
import json
import re
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Any, BinaryIO
from urllib.parse import quote, urlencode

from trackside.notices import say
from trackside.options import read_options, read_token
from trackside.tensorboard.encoding import (
    images_record,
    scalar_record,
    settings_record,
    text_record,
    version_record,
)  # fmt: skip

SECONDS = 60.0
ESCAPED = re.compile(r"' *[=+\-@\t\r\n＝＋－＠]")  # how the CSV protects names that a spreadsheet would calculate


class Export:
    """Reads a run from the server, and writes it."""

    def __init__(self, url: str, run_id: str, file: BinaryIO) -> None:
        self.points = 0
        self._url = url
        self._id = quote(run_id, safe="")
        self._file = file

    def write(self) -> None:
        run = self._json(f"/api/runs/{self._id}")
        began = _seconds(run.get("started_at") or run.get("created_at"))
        self._file.write(version_record(began))
        is_script = run.get("source") == "script"
        described = self._json(f"/api/scripts/{self._id}") if is_script else {}
        settings = described.get("config") if is_script else run.get("spec")
        if settings:
            self._file.write(settings_record(began, settings))
        for name, step, value, at in self._values():
            self._file.write(scalar_record(at, step, name, value))
            self.points += 1
        if is_script:
            self._write_media()

    def _values(self) -> Iterator[tuple[str, int, float, float]]:
        with self._open(f"/api/runs/{self._id}/metrics.csv") as answer:
            rows = csv.reader(io.TextIOWrapper(answer, encoding="utf-8", newline=""))
            next(rows, None)
            for name, step, value, at in rows:
                yield name[1:] if ESCAPED.match(name) else name, int(step), float(value), float(at)

    def _write_media(self) -> None:
        for known in self._json(f"/api/scripts/{self._id}/media/names"):
            for step in known["steps"]:
                query = urlencode({"name": known["name"], "step": step})
                found = self._json(f"/api/scripts/{self._id}/media?{query}")
                self._write_step([one for one in found if one["kind"] == known["kind"] and one["step"] == step])

    def _write_step(self, found: list[dict[str, Any]]) -> None:
        """Write the texts or the images of a name and step. Several images are one value only if their sizes agree."""
        images: list[bytes] = []
        for one in found:
            if one["kind"] == "text":
                self._file.write(text_record(_seconds(one["time"]), one["step"], one["name"], one["text"]))
            elif one["is_here"]:
                with self._open(f"/api/scripts/{self._id}/files/{one['sha256']}") as answer:
                    images.append(answer.read())
        if images:
            first = found[0]
            width, height = _size(images[0])
            at = _seconds(first["time"])
            self._file.write(images_record(at, first["step"], first["name"], images, width, height))

    def _json(self, path: str) -> Any:
        with self._open(path) as answer:
            return json.load(answer)

    def _open(self, path: str) -> Any:
        request = urllib.request.Request(self._url + path)
        token = read_token()
        if token:
            request.add_header("Authorization", f"Bearer {token}")
        return urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=SECONDS)


def main(words: list[str]) -> int:
    asked = _parse(words)
    folder = Path(asked.out or asked.run)
    target = folder / f"events.out.tfevents.{int(time.time())}.trackside.{re.sub(r'[^0-9A-Za-z_-]', '_', asked.run)}"
    part = target.with_name(f".{target.name.replace('tfevents', 'part')}")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with part.open("wb") as file:
            found = Export(read_options().url, asked.run, file)
            found.write()
        part.replace(target)
    except (OSError, ValueError) as error:  # those of HTTP are OSErrors
        say(f"{asked.run} is not exported: {_reason(error)}")
        with suppress(FileNotFoundError):
            part.unlink()
        return 1
    say(f"{found.points:,} values in {target}. See them with tensorboard --logdir {folder}")
    return 0


def _reason(error: Exception) -> str:
    """What the server says, if it does."""
    if isinstance(error, urllib.error.HTTPError):
        with error, suppress(ValueError, KeyError, TypeError):
            return str(json.load(error)["error"]["message"])
    return str(error)


def _seconds(moment: str | None) -> float:
    if not moment:
        return 0.0
    return datetime.fromisoformat(moment.replace("Z", "+00:00")).timestamp()


def _size(data: bytes) -> tuple[int, int]:
    """Width and height of a PNG; 0 for other formats, of which TensorBoard finds out itself."""
    if data.startswith(b"\x89PNG") and len(data) >= 24:
        return int.from_bytes(data[16:20], "big"), int.from_bytes(data[20:24], "big")
    return 0, 0


def _parse(words: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="trackside export",
        description="Write a run as an event file of TensorBoard: its series, settings, texts and images.",
    )
    parser.add_argument("kind", choices=["tensorboard"])
    parser.add_argument("run", metavar="RUN", help="the id of a run")
    parser.add_argument("-o", "--out", metavar="DIR", help="the folder for the file (default: the run's id)")
    return parser.parse_args(words)
