"""Files that are whole or absent, private where they are to be, and never written through somebody else's link."""

from __future__ import annotations

import os
import resource
from pathlib import Path

import pytest

from trainer.system.durable import append_durably, placed, remove_folder, remove_set_aside, set_aside, write_durably


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


@pytest.mark.parametrize(("mode", "expected"), [(None, 0o640), (0o600, 0o600)])
def test_a_file_has_its_mode(tmp_path: Path, mode: int | None, expected: int) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"before")
    path.chmod(0o666)
    before = os.umask(0o027)
    try:
        write_durably(path, b"data") if mode is None else write_durably(path, b"data", mode=mode)
    finally:
        os.umask(before)
    assert path.read_bytes() == b"data"
    assert path.stat().st_mode & 0o777 == expected
    assert names(tmp_path) == {"file"}


def test_who_has_the_temporary_file_open_reads_nothing(tmp_path: Path) -> None:
    """Left by a writer that was killed, perhaps of a version that gave it another mode."""
    left = tmp_path / ".file.tmp"
    left.write_bytes(b"left")
    with left.open("rb") as reader:
        write_durably(tmp_path / "file", b"secret", mode=0o600)
        assert reader.read() == b"left"
    assert names(tmp_path) == {"file"}


def test_a_link_in_the_place_of_the_temporary_file_is_not_followed(tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.write_bytes(b"other")
    (tmp_path / ".file.tmp").symlink_to(other)
    write_durably(tmp_path / "file", b"data")
    assert other.read_bytes() == b"other"
    assert not (tmp_path / "file").is_symlink()


def test_a_write_that_fails_leaves_what_was_there_and_takes_no_room(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"before")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, hard))
    try:
        with pytest.raises(OSError, match="File too large"):
            write_durably(path, bytes(1000))
        with pytest.raises(OSError, match="File too large"), placed(path) as fresh:
            fresh.write_bytes(bytes(1000))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert path.read_bytes() == b"before"
    assert names(tmp_path) == {"file"}


def test_two_may_place_the_same_file(tmp_path: Path) -> None:
    path = tmp_path / "file"
    with placed(path) as one:
        one.write_bytes(b"one")
        with placed(path) as other:
            other.write_bytes(b"other")
        assert path.read_bytes() == b"other"
    assert path.read_bytes() == b"one"
    assert path.stat().st_mode & 0o777 == 0o600
    assert names(tmp_path) == {"file"}


def test_who_is_interrupted_leaves_nothing(tmp_path: Path) -> None:
    for alone in (True, False):
        with pytest.raises(KeyboardInterrupt), placed(tmp_path / "file", alone=alone):
            raise KeyboardInterrupt
    assert names(tmp_path) == set()


def test_a_line_after_a_torn_one_begins_anew(tmp_path: Path) -> None:
    path = tmp_path / "lines"
    append_durably(path, b"one\n")
    with path.open("ab") as file:
        file.write(b"tor")
    append_durably(path, b"two\n")
    assert path.read_bytes().splitlines() == [b"one", b"tor", b"two"]


def test_a_folder_that_is_set_aside_gives_its_name_free(tmp_path: Path) -> None:
    """Even while an earlier folder of the same name has not been deleted yet."""
    hidden = []
    for _ in range(2):
        (tmp_path / "folder").mkdir()
        (tmp_path / "folder" / "file").write_bytes(b"x")
        hidden.append(set_aside(tmp_path / "folder"))
    assert names(tmp_path) == {path.name for path in hidden}
    assert len(names(tmp_path)) == 2
    remove_folder(hidden[0])
    assert names(tmp_path) == {hidden[1].name}
    (tmp_path / "kept").mkdir()
    remove_set_aside(tmp_path)
    assert names(tmp_path) == {"kept"}


def test_setting_aside_what_does_not_exist_does_nothing(tmp_path: Path) -> None:
    remove_folder(set_aside(tmp_path / "none"))
    remove_folder(set_aside(tmp_path / "none" / "folder"))
    assert names(tmp_path) == set()


def test_a_link_that_is_set_aside_is_deleted_and_not_what_it_leads_to(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
    remove_folder(set_aside(tmp_path / "link"))
    assert names(tmp_path) == {"elsewhere"}
