"""The files that a node was sent, by their SHA-256: each travels once. Datasets are folders of links to them."""

from __future__ import annotations

import hashlib
import os
import time
from pathlib import Path

from trainer.node.calls import Damaged
from trainer.system.durable import placed_folder, remove_folder, sync_folder
from trainer.system.hashing import file_sha256

RECENT_SECONDS = 600.0  # a dataset that was used since then may be about to be opened


class Blobs:
    """`blobs/<sha256>`, complete; `blobs/<sha256>.part`, being sent; `datasets/<digest>/<name>/`, links to blobs."""

    def __init__(self, folder: Path) -> None:
        self._blobs = folder / "blobs"
        self._datasets = folder / "datasets"
        for path in (self._blobs, self._datasets):
            path.mkdir(parents=True, exist_ok=True)

    def path(self, sha256: str) -> Path:
        return self._blobs / sha256

    def missing(self, hashes: list[str]) -> dict[str, int]:
        """The hashes of which there is no blob, each with the bytes that have arrived."""
        return {sha: self._arrived(sha) for sha in hashes if not self.path(sha).exists()}

    def put(self, sha256: str, offset: int, data: bytes, *, last: bool) -> None:
        """Add a piece to a blob. After the `last` one it is complete. Raises Damaged: send it again from its start."""
        part = self._part(sha256)
        fd = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            while data:
                written = os.pwrite(fd, data, offset)
                offset, data = offset + written, data[written:]
            if not last:
                return
            os.ftruncate(fd, offset)
            os.fsync(fd)
        finally:
            os.close(fd)
        if file_sha256(part) != sha256:
            part.unlink()
            raise Damaged(f"A file that was sent to the node does not have its hash {sha256}.")
        part.rename(self.path(sha256))
        sync_folder(self._blobs)

    def link(self, sha256: str, target: Path) -> None:
        target.parent.mkdir(parents=True, exist_ok=True)
        os.utime(self.path(sha256))
        os.link(self.path(sha256), target)

    def dataset(self, name: str, files: dict[str, str]) -> Path:
        """The folder of datasets that holds the dataset with these files, made if there is none yet."""
        text = "\n".join(f"{path} {sha}" for path, sha in sorted({"name": name, **files}.items()))
        root = self._datasets / hashlib.sha256(text.encode()).hexdigest()[:20]
        if not root.exists():
            try:
                with placed_folder(root) as fresh:
                    for path, sha in files.items():
                        self.link(sha, fresh / name / path)
            except FileExistsError:
                pass  # another seat of this machine was faster
        os.utime(root)
        return root

    def forget(self, sha256: str) -> None:
        self.path(sha256).unlink(missing_ok=True)

    def prune(self, limit_bytes: int) -> None:
        """Delete the datasets that were used longest ago, until the blobs take at most `limit_bytes`."""
        for root in sorted(self._datasets.iterdir(), key=lambda path: path.stat().st_mtime):
            if self._size() <= limit_bytes or time.time() - root.stat().st_mtime < RECENT_SECONDS:
                return
            remove_folder(root)
            for path in self._blobs.iterdir():
                if path.suffix != ".part" and path.stat().st_nlink == 1:
                    path.unlink(missing_ok=True)

    def _size(self) -> int:
        return sum(path.stat().st_size for path in self._blobs.iterdir())

    def _part(self, sha256: str) -> Path:
        return self._blobs / f"{sha256}.part"

    def _arrived(self, sha256: str) -> int:
        try:
            return self._part(sha256).stat().st_size
        except FileNotFoundError:
            return 0
