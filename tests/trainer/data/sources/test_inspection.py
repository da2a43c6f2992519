from pathlib import Path

import pytest

from tests.trainer.data.pictures import tree, write_tree, write_zip
from trainer.data.errors import BadArchive, BadLayout, UnknownSource, UnreadableSource
from trainer.data.sources.inspection import inspect_path, inspect_zip


def test_a_zip_is_checked_in_a_process_of_its_own(tmp_path: Path) -> None:
    inspect_zip("dataset", write_zip(tmp_path / "pets.zip", tree("cat", "dog")))
    one = write_zip(tmp_path / "one.zip", tree("cat"))
    inspect_zip("images", one)
    with pytest.raises(BadLayout, match="only one class") as caught:
        inspect_zip("dataset", one)
    assert caught.value.detail == ["cat"]
    (tmp_path / "no.zip").write_text("no zip")
    for contents in ("dataset", "images"):
        with pytest.raises(BadArchive, match="not a zip"):
            inspect_zip(contents, tmp_path / "no.zip")


def test_a_path_is_a_folder_or_a_file(tmp_path: Path) -> None:
    write_tree(tmp_path, tree("cat"))
    assert inspect_path(tmp_path)
    assert not inspect_path(tmp_path / "cat" / "0.png")
    with pytest.raises(UnknownSource, match="no folder or zip"):
        inspect_path(tmp_path / "dog")
    with pytest.raises(UnknownSource, match="neither a folder nor a regular file"):
        inspect_path(Path("/dev/null"))


def test_a_path_that_does_not_answer_in_time_is_named(tmp_path: Path) -> None:
    with pytest.raises(UnreadableSource, match="could not be checked within 0 s"):
        inspect_path(tmp_path, seconds=0)
