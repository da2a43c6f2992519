"""The folder for Ray's sockets in a directory that all users of a machine can write to."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from app.cluster.ray_process import ClusterError, private_folder


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o777


def test_only_this_user_can_enter_it(tmp_path: Path) -> None:
    made = private_folder("ray", tmp_path)
    assert mode(made) == 0o700
    made.chmod(0o777)
    assert mode(private_folder("ray", tmp_path)) == 0o700


def test_what_somebody_else_has_put_there_is_refused(tmp_path: Path) -> None:
    (tmp_path / "theirs").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "theirs")
    (tmp_path / "file").touch()
    for name in ("link", "file"):
        with pytest.raises(ClusterError, match="is not a folder of your own"):
            private_folder(name, tmp_path)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder away")
def test_another_users_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "ray").mkdir()
    os.chown(tmp_path / "ray", 12345, 12345)
    with pytest.raises(ClusterError, match="is not a folder of your own"):
        private_folder("ray", tmp_path)
