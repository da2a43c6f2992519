"""The event files of one directory, as a run to import. They may grow meanwhile."""

from __future__ import annotations

import hashlib
import socket
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from trackside.imports.items import Described, Ending, Entry
from trackside.imports.protobuf import Malformed
from trackside.request import Wanted
from trackside.tensorboard.decoding import Decoder
from trackside.tensorboard.records import RecordFile

PATTERN = "*tfevents*"


def find(root: Path, name: str = "") -> list[EventFiles]:
    """The directories at or below `root` that hold event files; `name` stands for its own name."""
    folders = sorted({path.parent for path in root.rglob(PATTERN) if path.is_file()})
    return [EventFiles(folder, root, name) for folder in folders]


class EventFiles:
    """Named by the path below the directory; by its own name for the directory itself."""

    def __init__(self, folder: Path, root: Path | None = None, name: str = "") -> None:
        self.path = str(folder)
        self.began = 0.0
        self._folder = folder
        self._root = root or folder
        self._name = name
        self._decoder = Decoder()
        self._files: dict[Path, RecordFile] = {}
        self._counted: Counter[str] = Counter()
        self._position = 0

    def entries(self) -> Iterator[Entry]:
        for path in sorted(path for path in self._folder.glob(PATTERN) if path.is_file()):
            for record in self._files.setdefault(path, RecordFile(path)).read():
                self._position += 1
                try:
                    time, step, items = self._decoder.decode(record)
                except Malformed:
                    self._counted["records that are not events"] += 1
                    continue
                for item in items:
                    yield self._position, time, step, item

    @property
    def left_out(self) -> Counter[str]:
        damaged = Counter({"records with a wrong checksum": sum(file.damaged for file in self._files.values())})
        return self._counted + self._decoder.left_out + damaged

    def described(self) -> Described:
        own = self._name or self._root.name
        below = self._folder.relative_to(self._root).as_posix()
        name = own if below == "." else f"{self._name}/{below}" if self._name else below
        command = ["trackside", "import", "tensorboard", self.path]
        return Described(self._id(), Wanted(name=name, group=own), {"command": command, "host": socket.gethostname()})

    def ending(self) -> Ending | None:
        return None

    def damage(self) -> list[str]:
        return [f"{file.path.name} from a damaged place on" for file in self._files.values() if file.is_broken]

    def _id(self) -> str:
        """From the absolute path and the name of the first event file.

        That name holds the time and the machine, so that the same path on another machine is another run.
        """
        first = min(path.name for path in self._folder.glob(PATTERN) if path.is_file())
        known = f"{self._folder.resolve()}\0{first}".encode("utf-8", "surrogateescape")
        return f"tb-{hashlib.sha256(known).hexdigest()[:20]}"
