"""Downloads a file once, with progress and a checksum. An interrupted download is resumed."""

import hashlib
import http.client
import os
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from trainer.data.errors import DownloadFailed
from trainer.data.writer import full_disk_named, sync
from trainer.system.locks import lock_descriptor
from trainer.system.progress import Progress

_BLOCK_BYTES = 1 << 18
_MAX_BYTES = 2 << 30
_TIMEOUT_SECONDS = 30


@dataclass(frozen=True)
class Remote:
    base: str
    file: str
    md5: str


def fetch(remote: Remote, folder: Path, progress: Progress, *, base: str | None = None) -> Path:
    """Download the file unless it exists; return its path in `folder`. `base` overrides the remote's base URL.

    Raises DownloadFailed, DiskFull.
    """
    target = folder / remote.file
    if target.is_file() and _md5(target) == remote.md5:
        return target
    folder.mkdir(parents=True, exist_ok=True)
    url = f"{(base or remote.base).rstrip('/')}/{remote.file}"
    part = target.with_name(target.name + ".part")
    with part.open("ab") as file, full_disk_named():
        if not lock_descriptor(file.fileno(), wait=False):
            raise DownloadFailed(f"{remote.file} is being downloaded already.", detail={"url": url})
        _receive(url, file, f"downloading {remote.file}", progress)
    if (found := _md5(part)) != remote.md5:
        part.unlink()
        raise DownloadFailed(
            f"{url} is not the file it should be: its checksum differs.",
            detail={"url": url, "md5": found, "expected": remote.md5},
        )
    sync(part)
    part.rename(target)
    sync(folder)
    return target


def _receive(url: str, file: BinaryIO, what: str, progress: Progress) -> None:
    held = file.seek(0, os.SEEK_END)
    headers = {"User-Agent": "trackside", **({"Range": f"bytes={held}-"} if held else {})}
    try:
        request = urllib.request.Request(url, headers=headers)
        with urllib.request.urlopen(request, timeout=_TIMEOUT_SECONDS) as response:
            if response.status != http.HTTPStatus.PARTIAL_CONTENT:
                held = 0
                file.truncate(0)
            total = held + int(response.headers.get("Content-Length") or 0)
            while block := response.read(_BLOCK_BYTES):
                file.write(block)
                held += len(block)
                if held > _MAX_BYTES:
                    raise DownloadFailed(f"{url} is far larger than it should be.", detail={"url": url})
                progress(held, max(total, held), what)
    except urllib.error.HTTPError as error:
        with error:
            if error.code == http.HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
                return  # the file is already complete; the checksum is compared next
            raise DownloadFailed(f"{url} answered {error.code}.", detail={"url": url}) from None
    except (
        urllib.error.URLError,
        http.client.HTTPException,
        TimeoutError,
        ConnectionError,
        ValueError,
    ) as error:
        raise DownloadFailed(f"{url} could not be downloaded: {error}.", detail={"url": url}) from None
    if held < total:
        raise DownloadFailed(
            f"The download of {url} was cut off; it goes on from there the next time.",
            detail={"url": url, "received": held, "total": total},
        )


def _md5(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
