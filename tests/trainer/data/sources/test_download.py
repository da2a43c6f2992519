import hashlib
from pathlib import Path

import pytest

from tests.trainer.data.sources.mirror import Mirror, serving
from trainer.data.errors import DownloadFailed
from trainer.data.sources.download import Remote, fetch
from trainer.system.locks import lock_descriptor
from trainer.system.progress import silent

DATA = bytes(range(256)) * 4096  # 1 MiB
REMOTE = Remote("http://127.0.0.1:9/nobody", "set.bin", hashlib.md5(DATA).hexdigest())


def test_a_file_is_fetched_once_with_progress(tmp_path: Path) -> None:
    told: list[tuple[int, int, str]] = []
    with serving(Mirror({"set.bin": DATA})) as mirror:
        path = fetch(REMOTE, tmp_path / "cache", lambda *step: told.append(step), base=mirror.base)
        assert fetch(REMOTE, tmp_path / "cache", silent, base=mirror.base) == path
    assert path.read_bytes() == DATA
    assert mirror.asked == [("/sets/set.bin", None)]
    assert told[-1] == (len(DATA), len(DATA), "downloading set.bin")
    assert [done for done, _, _ in told] == sorted(done for done, _, _ in told)
    assert [entry.name for entry in path.parent.iterdir()] == ["set.bin"]


def test_what_was_cut_off_goes_on_where_it_stopped(tmp_path: Path) -> None:
    with serving(Mirror({"set.bin": DATA}, break_off_after=700_000)) as mirror:
        with pytest.raises(DownloadFailed, match="cut off"):
            fetch(REMOTE, tmp_path, silent, base=mirror.base)
        assert not (tmp_path / "set.bin").exists()
        mirror.break_off_after = None
        assert fetch(REMOTE, tmp_path, silent, base=mirror.base).read_bytes() == DATA
    assert mirror.asked == [("/sets/set.bin", None), ("/sets/set.bin", "bytes=700000-")]


def test_a_server_without_ranges_sends_it_all_again(tmp_path: Path) -> None:
    (tmp_path / "set.bin.part").write_bytes(b"something else")
    with serving(Mirror({"set.bin": DATA}, honour_ranges=False)) as mirror:
        assert fetch(REMOTE, tmp_path, silent, base=mirror.base).read_bytes() == DATA


def test_a_part_that_is_whole_already_is_kept(tmp_path: Path) -> None:
    (tmp_path / "set.bin.part").write_bytes(DATA)
    with serving(Mirror({"set.bin": DATA})) as mirror:
        assert fetch(REMOTE, tmp_path, silent, base=mirror.base).read_bytes() == DATA


def test_two_downloads_of_a_file_do_not_mix(tmp_path: Path) -> None:
    part = tmp_path / "set.bin.part"
    part.write_bytes(DATA[:1000])
    with serving(Mirror({"set.bin": DATA})) as mirror:
        with part.open("rb") as other:
            assert lock_descriptor(other.fileno(), wait=False)
            with pytest.raises(DownloadFailed, match="already"):
                fetch(REMOTE, tmp_path, silent, base=mirror.base)
        assert part.read_bytes() == DATA[:1000]
        assert fetch(REMOTE, tmp_path, silent, base=mirror.base).read_bytes() == DATA


def test_a_wrong_checksum_is_refused_and_not_kept(tmp_path: Path) -> None:
    with serving(Mirror({"set.bin": DATA[:-1] + b"!"})) as mirror:
        with pytest.raises(DownloadFailed, match="checksum") as caught:
            fetch(REMOTE, tmp_path, silent, base=mirror.base)
        assert caught.value.detail["expected"] == REMOTE.md5
        assert list(tmp_path.iterdir()) == []
        mirror.files["set.bin"] = DATA
        assert fetch(REMOTE, tmp_path, silent, base=mirror.base).read_bytes() == DATA


def test_an_altered_cached_file_is_fetched_anew(tmp_path: Path) -> None:
    (tmp_path / "set.bin").write_bytes(b"altered")
    with serving(Mirror({"set.bin": DATA})) as mirror:
        assert fetch(REMOTE, tmp_path, silent, base=mirror.base).read_bytes() == DATA


def test_a_missing_file_and_a_missing_server_are_told(tmp_path: Path) -> None:
    with serving(Mirror({})) as mirror, pytest.raises(DownloadFailed, match="answered 404"):
        fetch(REMOTE, tmp_path, silent, base=mirror.base)
    with pytest.raises(DownloadFailed, match="could not be downloaded"):
        fetch(REMOTE, tmp_path, silent, base=mirror.base)
    with pytest.raises(DownloadFailed):
        fetch(REMOTE, tmp_path, silent, base="no address")
