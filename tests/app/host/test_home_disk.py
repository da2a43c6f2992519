"""A home on a network file system is told of."""

from __future__ import annotations

from pathlib import Path

import pytest

from app.host.network_home import caution, file_system


def test_the_file_system_of_a_path_is_found(tmp_path: Path) -> None:
    assert file_system(Path("/proc/self/fd")) == "proc"
    assert file_system(tmp_path / "not" / "there") not in ("", "proc")


@pytest.mark.parametrize("kind", ["nfs", "nfs4", "cifs", "SMB3", "fuse.sshfs", "9p"])
def test_networks_are_cautioned_against(tmp_path: Path, kind: str) -> None:
    said = caution(tmp_path, kind)
    assert said is not None
    assert kind in said
    assert "TRACKSIDE_HOME" in said


@pytest.mark.parametrize("kind", ["ext4", "xfs", "btrfs", "zfs", "overlay", "tmpfs", "apfs", ""])
def test_local_disks_are_not(tmp_path: Path, kind: str) -> None:
    assert caution(tmp_path, kind) is None
