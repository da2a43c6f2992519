import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from tests.trainer.data.pictures import tree, write_tree
from trainer.data.errors import BadLayout, UnknownSource, UnreadableSource
from trainer.data.format import read_files
from trainer.data.sources.archive import Limits
from trainer.data.sources.folder import check_folder
from trainer.data.sources.source import add_dataset

NOBODY = 65534


@pytest.fixture
def pets(tmp_path: Path) -> Path:
    return write_tree(tmp_path / "pets", tree("cat", "dog", "owl", each=5))


def test_links_to_folders_are_followed(tmp_path: Path, pets: Path) -> None:
    subset = tmp_path / "subset"
    subset.mkdir()
    for kind in ("cat", "dog"):
        (subset / kind).symlink_to(pets / kind)
    record = add_dataset(tmp_path / "datasets", "subset", str(subset))
    assert (record.classes, record.train_count, record.test_count) == (["cat", "dog"], 8, 2)
    assert all(name.startswith(("cat/", "dog/")) for name in read_files(tmp_path / "datasets", "subset", "train"))


def test_a_link_may_be_a_split(tmp_path: Path, pets: Path) -> None:
    whole = tmp_path / "whole"
    write_tree(whole, tree("test/cat", "test/dog", "test/owl"))
    (whole / "train").symlink_to(pets)
    layout = check_folder(whole)
    assert {split: len(members) for split, members in layout.members.items()} == {"train": 15, "test": 6}


def test_loops_of_links_end(pets: Path) -> None:
    expected = check_folder(pets)
    (pets / "loop").symlink_to(pets)
    (pets / "cat" / "up").symlink_to("..")
    (pets / "dog" / "itself.txt").symlink_to("itself.txt")
    (pets / "owl" / "here").symlink_to(".")
    assert check_folder(pets).members == expected.members


def test_links_are_no_way_around_the_limit(tmp_path: Path) -> None:
    for number in range(12):
        (tmp_path / str(number)).mkdir()
        if number:
            for name in "ab":
                (tmp_path / str(number - 1) / name).symlink_to(tmp_path / str(number))
    with pytest.raises(BadLayout, match="more than 500 files and folders"):
        check_folder(tmp_path, Limits(entries=500))


def check_as_nobody(path: Path) -> str:
    """The error's code and message, in a process without root's rights."""
    check = (
        "import os, sys\n"
        "from pathlib import Path\n"
        "from trainer.data.errors import DatasetError\n"
        "from trainer.data.sources.source import add_dataset\n"
        f"if os.getuid() == 0: os.setgid({NOBODY}); os.setuid({NOBODY})\n"
        "try: add_dataset(Path('/nowhere'), 'x', sys.argv[1])\n"
        "except DatasetError as error: print(error.code, error.message)"
    )
    done = subprocess.run([sys.executable, "-c", check, str(path)], capture_output=True, text=True, check=True)
    return done.stdout.strip()


@pytest.fixture
def locked() -> Iterator[Path]:
    """A folder whose class dog may not be read; pytest's own folders may be entered by their owner alone."""
    with TemporaryDirectory() as folder:
        root = write_tree(Path(folder), tree("cat", "dog"))
        root.chmod(0o755)
        (root / "dog").chmod(0)
        yield root
        (root / "dog").chmod(0o755)


@pytest.mark.parametrize(("source", "named"), [("", "dog"), ("dog", "dog"), ("dog/more", "dog/more")])
def test_what_may_not_be_read_is_named(locked: Path, source: str, named: str) -> None:
    assert check_as_nobody(locked / source) == f"unreadable_source {locked / named} cannot be read: Permission denied."


@pytest.mark.parametrize("source", ["/dev/zero", "pipe.zip"])
def test_a_pipe_or_a_device_is_refused_unread(tmp_path: Path, source: str) -> None:
    os.mkfifo(tmp_path / "pipe.zip")
    with pytest.raises(UnknownSource, match="neither a folder nor a regular file"):
        add_dataset(tmp_path / "datasets", "x", str(tmp_path / source))


@pytest.mark.parametrize("source", ["/" + "a" * 300, "~nobody-of-this-name/x"])
def test_paths_that_cannot_be(tmp_path: Path, source: str) -> None:
    with pytest.raises((UnreadableSource, UnknownSource), match=r"File name too long|is no path"):
        add_dataset(tmp_path / "datasets", "x", source)
