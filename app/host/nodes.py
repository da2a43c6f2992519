"""The nodes of a cluster, and which of them are drained: a file per node in the home, which outlives all processes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from app.errors import not_found
from app.host.workers import is_on_node, seen_workers
from app.settings import Settings
from app.storage.db import Database
from app.storage.tables import Worker
from trainer.system.durable import sync_folder, write_durably


class Draining(StrEnum):
    """What becomes of the runs that a drained node trains: they finish there, or are saved and queued again."""

    FINISH = "finish"
    MOVE = "move"


@dataclass(frozen=True)
class Node:
    """`devices` are those that are connected. `draining`: it takes no new runs; None if it does."""

    name: str
    draining: Draining | None
    devices: Sequence[Worker]


class Nodes:
    def __init__(self, settings: Settings, database: Database) -> None:
        self._home, self._database = settings.home, database

    def all(self) -> list[Node]:
        """The nodes that are connected, and those that are drained."""
        devices: dict[str, list[Worker]] = {name: [] for name in drained(self._home)}
        for worker in seen_workers(self._database):
            if is_on_node(worker.device):
                devices.setdefault(worker.host, []).append(worker)
        return [Node(name, draining(self._home, name), found) for name, found in sorted(devices.items())]

    def get(self, name: str) -> Node:
        """Raises ApiError 404."""
        for node in self.all():
            if node.name == name:
                return node
        raise not_found("node", name)

    def drain(self, name: str, how: Draining) -> Node:
        """Have the node take no new runs, also after a restart of it or of the server. Raises ApiError 404."""
        path = _folder(self._home) / self.get(name).name
        path.parent.mkdir(parents=True, exist_ok=True)
        write_durably(path, how.encode())
        return self.get(name)

    def resume(self, name: str) -> Node:
        """Have a drained node take runs again. Raises ApiError 404."""
        node = self.get(name)
        if node.draining is not None:
            (_folder(self._home) / name).unlink(missing_ok=True)
            sync_folder(_folder(self._home))
        return Node(name, None, node.devices)


def draining(home: Path, name: str) -> Draining | None:
    try:
        return Draining((_folder(home) / name).read_text())
    except FileNotFoundError:
        return None
    except ValueError:  # a damaged file: it was drained
        return Draining.FINISH


def drained(home: Path) -> list[str]:
    folder = _folder(home)
    return [path.name for path in folder.iterdir() if not path.name.startswith(".")] if folder.exists() else []


def _folder(home: Path) -> Path:
    return home / "cluster" / "drained"
