"""A `.wandb` file with the files beside it, as a run to import.

The numbers of the fields are those of wandb_internal.proto.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Callable

from trackside.imports.items import (
    LATEST,
    Described,
    Ending,
    Entry,
    Environment,
    Figures,
    Item,
    Printed,
    Settings,
    Text,
    Unusable,
    named,
)
from trackside.imports.protobuf import Malformed, as_bytes, as_text, fields, signed
from trackside.output import OutputLines
from trackside.request import Wanted
from trackside.values import scalar_text, to_json
from trackside.wandb_files.environment import environment_of, read_git, read_record
from trackside.wandb_files.history import Rows
from trackside.wandb_files.log import LogFile, NoLog
from trackside.wandb_files.values import OWN, Tree, leaves, merge, moment, remove, texts

LOOKED_FOR = "runs of W&B (wandb/offline-run-*/*.wandb, wandb/run-*/*.wandb)"
PLACES = ("*.wandb", "*run-*/*.wandb", "wandb/*run-*/*.wandb")
LONGEST_ID = 16  # characters of W&B's id that the run's id has
STDOUT = 1


def find(root: Path, name: str = "") -> list[WandbFile]:
    """The runs of a file, of a run's folder, or of a folder of runs. The link `latest-run` is no run of its own."""
    places = [root] if root.is_file() else [path for place in PLACES for path in root.glob(place)]
    paths = sorted({path.resolve() for path in places if path.is_file()})
    return [WandbFile(path, name, is_only=len(paths) == 1) for path in paths]


class WandbFile:
    """One run. A file that is damaged is read up to there."""

    def __init__(self, path: Path, name: str = "", is_only: bool = True) -> None:
        self.path = str(path)
        self.began = 0.0
        self._name, self._is_only = name, is_only
        self._log = LogFile(path)
        self._files = path.parent / "files"
        self._rows = Rows(self._files)
        self._counted: Counter[str] = Counter()
        self._run: dict[str, str] = {}
        self._tags: list[str] = []
        self._environment: dict[str, Any] = {}
        self._is_described = False
        self._summary: Tree = {}
        self._exit: dict[int, int] | None = None  # the fields of the exit record
        self._time = 0.0
        self._step = 0
        self._printed: list[str] = []
        self._outputs = {kind: OutputLines(self._printed.append, lambda: self._time) for kind in (STDOUT, 0)}
        self._readers: dict[int, Callable[[bytes], Iterator[tuple[int, Item]]]] = {
            2: self._history, 4: self._output, 5: self._config, 10: self._alert, 13: self._output, 17: self._run_record,
        }  # fmt: skip
        self._setters: dict[int, Callable[[bytes], None]] = {
            3: self._summary_record, 12: self._metric, 18: self._exit_record, 26: self._environment_record,
        }  # fmt: skip

    def entries(self) -> Iterator[Entry]:
        position = 0
        try:
            for position, record in enumerate(self._log.records()):
                try:
                    for step, item in self._items(record):
                        yield position, self._time, step, item
                except Malformed:
                    self._counted["records that are not as W&B writes them"] += 1
        except (NoLog, OSError) as error:
            raise Unusable(str(error)) from None
        if not self._is_described:
            yield position + 1, self._time, 0, Environment(self._described_environment())
        for output in self._outputs.values():
            output.close()
        yield position + 1, self._time, 0, Printed(list(self._printed))
        if figures := self._figures():
            yield position + 1, self._time, 0, Figures(figures)

    @property
    def left_out(self) -> Counter[str]:
        return self._counted + self._rows.left_out

    def described(self) -> Described:
        if "run_id" not in self._run:
            raise Unusable("; ".join(["it holds no run", *self.damage()]) + ".")
        run_id = self._run["run_id"]
        wanted = Wanted(
            project=self._run["project"],
            name=named(self._run["name"] or run_id, self._name, self._is_only),
            group=self._run["group"],
            notes=self._run["notes"],
            tags=tuple(self._tags),
        )
        described = self._described_environment()
        names = ("command", "host", "python")
        script = {name: value for name, value in described.items() if name in names}
        return Described(self._id(run_id), wanted, script)

    def ending(self) -> Ending:
        """A run without an exit record was killed, or still runs."""
        if self._exit is None:
            return Ending("stopped")
        code = (self._exit.get(1, 0) + 2**31) % 2**32 - 2**31  # int32
        ended = max(self._time, self.began + min(self._exit.get(2, 0), 2**31))
        return Ending("failed" if code else "finished", code, ended)

    def damage(self) -> list[str]:
        return [self._log.broken] if self._log.broken else []

    def _items(self, record: bytes) -> Iterator[tuple[int, Item]]:
        for field, value in fields(record):
            if field in self._readers:
                yield from self._readers[field](as_bytes(value))
            elif field in self._setters:
                self._setters[field](as_bytes(value))

    def _run_record(self, data: bytes) -> Iterator[tuple[int, Item]]:
        """The run; written again when its name, tags or notes are changed."""
        names = ("run_id", "project", "group", "job_type", "name", "notes", "host")
        self._run = dict(zip(names, texts(data, 1, 3, 6, 7, 8, 9, 13)))
        self._tags = [as_text(value) for field, value in fields(data) if field == 10]
        for field, value in fields(data):
            if field == 17 and not self.began:
                self.began = self._time = moment(as_bytes(value))
            elif field == 21:
                read_git(self._environment, as_bytes(value))
        for field, value in fields(data):
            if field == 4:
                yield from self._config(as_bytes(value))

    def _config(self, data: bytes) -> Iterator[tuple[int, Item]]:
        values: Tree = {}
        for field, value in fields(data):
            if field == 1:
                merge(values, as_bytes(value))
        values.pop("_wandb", None)
        if values:
            yield 0, Settings(to_json(values))

    def _history(self, data: bytes) -> Iterator[tuple[int, Item]]:
        row: Tree = {}
        step: int | None = None
        for field, value in fields(data):
            if field == 1:
                merge(row, as_bytes(value))
            elif field == 2:
                step = next((signed(one) for number, one in fields(as_bytes(value)) if number == 1), 0)
        own, time = row.get("_step"), row.get("_timestamp")
        self._step = step if step is not None else own if isinstance(own, int) else self._step + 1
        if isinstance(time, (int, float)) and 0 <= time <= LATEST:
            self._time = float(time)
        if not self._is_described:  # its records come before the first row
            self._is_described = True
            yield 0, Environment(self._described_environment())
        yield from self._rows.items(row, self._step)

    def _output(self, data: bytes) -> Iterator[tuple[int, Item]]:
        kind, text = 0, b""
        for field, value in fields(data):
            if field == 1:
                kind = signed(value)
            elif field == 2:
                self._time = moment(as_bytes(value)) or self._time
            elif field == 3:
                text = as_bytes(value)
        self._outputs[STDOUT if kind == STDOUT else 0].feed(text)
        if self._printed:
            yield 0, Printed(list(self._printed))
            self._printed.clear()

    def _alert(self, data: bytes) -> Iterator[tuple[int, Item]]:
        yield self._step, Text("alert", "\n".join(filter(None, texts(data, 1, 2))))

    def _summary_record(self, data: bytes) -> None:
        for field, value in fields(data):
            if field == 1:
                merge(self._summary, as_bytes(value))
            elif field == 2:
                remove(self._summary, as_bytes(value))

    def _metric(self, data: bytes) -> None:
        name, pattern, axis = texts(data, 1, 2, 4)
        if name or pattern:
            self._rows.rules.define(pattern or name, axis if axis and axis != "_step" else None, "")

    def _exit_record(self, data: bytes) -> None:
        self._exit = {field: signed(value) for field, value in fields(data) if isinstance(value, int)}

    def _environment_record(self, data: bytes) -> None:
        read_record(self._environment, data)

    def _figures(self) -> dict[str, Any]:
        """What the summary has besides the latest value of each series."""
        found = {}
        for name, value in leaves(self._summary):
            if name.partition("/")[0] in OWN or not isinstance(value, (bool, int, float, str)):
                continue
            latest = self._rows.latest.get(name)
            is_latest = value == latest if isinstance(value, str) else scalar_text(value) == scalar_text(latest)
            if not is_latest:
                found[name] = to_json(value)
        return found

    def _described_environment(self) -> dict[str, Any]:
        known = {"host": self._run.get("host"), **self._environment}
        others = {"job_type": self._run.get("job_type"), "wandb_run": self._run.get("run_id")}
        return {**environment_of(known, self._files), **{name: text for name, text in others.items() if text}}

    def _id(self, run_id: str) -> str:
        """From W&B's id, project and time of the start: the same where the files were copied to."""
        digest = hashlib.sha256(f"{self._run['project']}\0{run_id}\0{self.began!r}".encode()).hexdigest()
        shown = re.sub(r"[^0-9A-Za-z-]", "", run_id)[:LONGEST_ID]
        return f"wb-{shown}-{digest[:10]}"
