"""Detects a home on a network file system, where locks are unreliable."""

from __future__ import annotations

from pathlib import Path

import psutil

NETWORK = frozenset({
    "9p", "afpfs", "afs", "beegfs", "ceph", "cifs", "davfs", "fuse.glusterfs", "fuse.rclone", "fuse.s3fs", "fuse.sshfs",
    "gfs2", "glusterfs", "gpfs", "lustre", "nfs", "nfs4", "ocfs2", "orangefs", "smb2", "smb3", "smbfs",
})  # fmt: skip


def file_system(path: Path) -> str:
    """Return the type of the file system that holds `path`, as the system names it; empty if unknown."""
    mounts = {Path(part.mountpoint): part.fstype for part in psutil.disk_partitions(all=True)}
    resolved = path.resolve()
    return next((mounts[folder] for folder in (resolved, *resolved.parents) if folder in mounts), "")


def caution(home: Path, kind: str | None = None) -> str | None:
    """Return a warning if `home` is on a network file system, else None. By default `kind` is detected."""
    kind = file_system(home) if kind is None else kind
    if kind.lower() not in NETWORK:
        return None
    return (
        f"The home {home.resolve()} lies on a network file system ({kind}), where neither locks nor SQLite are to be "
        "trusted: point TRACKSIDE_HOME at a local disk."
    )
