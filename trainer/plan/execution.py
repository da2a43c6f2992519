"""How a network is executed: number format, memory layout, threads. And what was measured to be fastest. Free of torch.

A verdict is remembered per processor, torch version, network and batch, one file each, in the home's `cache/`.
"""

from __future__ import annotations

import hashlib
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import orjson

from trainer.spec.model_spec import ModelSpec
from trainer.system.durable import placed
from trainer.system.processor import processor

Precision = Literal["float32", "bf16", "fp16"]


@dataclass(frozen=True)
class Execution:
    """`threads` are those of a CPU; 0 leaves the number as it is."""

    precision: Precision
    channels_last: bool = True
    threads: int = 0

    def __str__(self) -> str:
        names = {"float32": "float32", "bf16": "bfloat16", "fp16": "float16"}
        layout = "channels_last" if self.channels_last else "contiguous"
        return f"{names[self.precision]}, {layout}, {self.threads} {'thread' if self.threads == 1 else 'threads'}"


@dataclass(frozen=True)
class Workload:
    """What a verdict holds for. `images` per step, of `size` × `size` pixels; `cores` that this process may use.

    `precision` and `threads` are what the user has chosen: "auto" and 0 if they may be chosen.
    """

    torch: str
    cores: int
    model: ModelSpec
    images: int
    size: int
    precision: str = "auto"
    threads: int = 0

    @property
    def name(self) -> str:
        parts = (processor(), {**asdict(self), "model": self.model.model_dump(mode="json")})
        return hashlib.sha256(orjson.dumps(parts)).hexdigest()[:20]


@dataclass(frozen=True)
class Verdict:
    """The fastest execution. `compile`: whether torch.compile was faster still; None if it was not tried.

    `milliseconds` per step of each execution that was tried, with the images of the probe.
    """

    execution: Execution
    milliseconds: dict[str, float]
    compile: bool | None = None


class Verdicts:
    """The verdicts that are remembered in a folder. A file that cannot be read or written counts as absent."""

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder

    def get(self, workload: Workload) -> Verdict | None:
        if self._folder is None:
            return None
        try:
            stored: dict[str, Any] = orjson.loads(self._path(self._folder, workload).read_bytes())
            execution = Execution(**stored["execution"])
            return Verdict(execution, stored["milliseconds"], stored["compile"])
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def put(self, workload: Workload, verdict: Verdict) -> None:
        if self._folder is None:
            return
        content = {"processor": processor(), **asdict(workload), "model": workload.model.name, **asdict(verdict)}
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            with placed(self._path(self._folder, workload), mode=0o644) as fresh:
                fresh.write_bytes(orjson.dumps(content, option=orjson.OPT_INDENT_2))
        except OSError:
            pass  # it is measured again next time

    def _path(self, folder: Path, workload: Workload) -> Path:
        return folder / f"{workload.name}.json"
