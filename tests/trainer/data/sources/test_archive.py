import io
import stat
import struct
import tracemalloc
import unicodedata
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import pytest

from tests.trainer.data.pictures import png, raw_zip, tree, write_tree, write_zip
from trainer.data.errors import BadArchive, BadLayout, BadStructure, UnreadableImage
from trainer.data.format import read_files
from trainer.data.sources.archive import ArchiveSource, Limits, check_archive, check_images
from trainer.data.sources.source import add_dataset

GOOD = tree("cat", "dog")


def entry(name: str, *, mode: int = 0, method: int = zipfile.ZIP_DEFLATED) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(name)
    info.external_attr = mode << 16
    info.compress_type = method
    return info


def bad_zip(path: Path, *entries: tuple[zipfile.ZipInfo, bytes]) -> Path:
    """Two good classes, and the entries beside them."""
    write_zip(path, GOOD)
    with zipfile.ZipFile(path, "a") as archive:
        for info, data in entries:
            archive.writestr(info, data)
    return path


def added(
    name: str, data: bytes = b"x", *, mode: int = 0, method: int = zipfile.ZIP_DEFLATED
) -> Callable[[Path], Path]:
    return lambda path: bad_zip(path, (entry(name, mode=mode, method=method), data))


def patched(find: bytes, replace: bytes, *, name: str = "cat/AAAA.png") -> Callable[[Path], Path]:
    """An entry whose raw bytes are changed after writing, for what zipfile will not write itself."""

    def make(path: Path) -> Path:
        bad_zip(path, (entry(name), b"x"))
        data = path.read_bytes()
        assert find in data
        path.write_bytes(data.replace(find, replace))
        return path

    return make


def backslashed(files: dict[str, bytes]) -> dict[str, bytes]:
    return {name.replace("/", "\\"): data for name, data in files.items()}


def encrypted(path: Path) -> Path:
    write_zip(path, GOOD)
    data = bytearray(path.read_bytes())
    at = data.index(b"PK\x01\x02")
    data[at + 8] |= 1
    path.write_bytes(data)
    return path


def overlapping(path: Path) -> Path:
    """Two directory entries for one body: the trick of a better zip bomb."""
    write_zip(path, GOOD)
    data = bytearray(path.read_bytes())
    first = data.index(b"PK\x01\x02")
    second = data.index(b"PK\x01\x02", first + 4)
    data[second + 42 : second + 46] = data[first + 42 : first + 46]
    path.write_bytes(data)
    return path


ATTACKS: dict[str, tuple[Callable[[Path], Path], str]] = {
    "parent": (added("../evil.png"), "leads outside"),
    "inner parent": (added("cat/../../evil.png"), "leads outside"),
    "dot": (added("cat/./a.png"), "leads outside"),
    "empty part": (added("cat//a.png"), "leads outside"),
    "absolute": (added("/etc/evil.png"), "an absolute name"),
    "drive": (added("C:/evil.png"), "an absolute name"),
    "backslash": (patched(b"cat/AAAA.png", b"..\\CAAAA.png"), "a backslash"),
    "NUL": (patched(b"cat/AAAA.png", b"cat/A\0AA.png"), "a NUL"),
    "newline": (added("cat/a\nb.png"), "control character"),
    "link": (added("cat/link.png", b"/etc/passwd", mode=stat.S_IFLNK | 0o777), "a link"),
    "folder link": (added("birds", b"/etc", mode=stat.S_IFLNK | 0o777), "a link"),
    "device": (added("cat/null.png", mode=stat.S_IFCHR | 0o666), "neither a file nor a folder"),
    "backslashes that lead outside": (lambda path: write_zip(path, backslashed(GOOD | {"../a.png": b"x"})), "outside"),
    "backslashes from the root": (lambda path: write_zip(path, backslashed(GOOD | {"/a.png": b"x"})), "absolute"),
    "backslashes from a drive": (lambda path: write_zip(path, backslashed(GOOD | {"C:/a.png": b"x"})), "absolute"),
    "dot, then parent": (added("./../a.png"), "leads outside"),
    "dot, then root": (added(".//etc/a.png"), "an absolute name"),
    "dot, then the same": (added("./cat/0.png"), "clashes"),
    "a long name": (added("a/" * 600 + "0.png"), "longer than 1,024 characters"),
    "many folders": (added("a/" * 70 + "0.png"), "more than 64 folders"),
    "composed and not": (
        lambda path: bad_zip(path, (entry("cat/\u00e9.png"), b"x"), (entry("cat/e\u0301.png"), b"x")),
        "clashes",
    ),
    "file and folder": (added("cat/0.png/more.png"), "both a file and a folder"),
    "nested": (added("cat/more.zip"), "archive within"),
    "nested tar": (added("more.tar.gz"), "archive within"),
    "bomb": (added("cat/zeros.png", b"\0" * 1_000_000), "100 times"),
    "encrypted": (encrypted, "encrypted"),
    "overlap": (overlapping, "overlap"),
    "lzma": (added("cat/9.png", png(9), method=zipfile.ZIP_LZMA), "method"),
    "one class": (lambda path: write_zip(path, tree("cat")), "only one class"),
    "no class": (lambda path: write_zip(path, {}), "no images"),
    "empty class": (lambda path: write_zip(path, GOOD, ["cat", "dog", "cow"]), "cow: no image"),
    "text": (lambda path: (path.write_text("hello"), path)[1], "not a zip"),
    "empty": (lambda path: (path.write_bytes(b""), path)[1], "not a zip"),
    "cut off": (lambda path: (path.write_bytes(write_zip(path, GOOD).read_bytes()[:-30]), path)[1], "not a zip"),
}


@pytest.mark.parametrize("attack", ATTACKS)
def test_attacks_are_refused_and_write_nothing(tmp_path: Path, attack: str) -> None:
    make, message = ATTACKS[attack]
    path = make(tmp_path / "attack.zip")
    with pytest.raises(BadStructure) as caught:
        check_archive(path)
    told = [caught.value.message, *caught.value.detail]
    assert any(message in line for line in told), told
    assert list(tmp_path.iterdir()) == [path]


SEPARATORS: dict[str, Callable[[str], str]] = {
    "backslashes": lambda name: f"birds/{name}".replace("/", "\\"),
    "a leading dot": lambda name: f"./{name}",
    "dots": lambda name: f"././{name}",
}


@pytest.mark.parametrize("separators", SEPARATORS)
def test_names_of_other_programs_are_normalized(tmp_path: Path, separators: str) -> None:
    written = {SEPARATORS[separators](name): (name, data) for name, data in GOOD.items()}
    folder = "birds\\" if separators == "backslashes" else "./"
    path = tmp_path / "other.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(folder, b"")
        for name, (_, data) in written.items():
            archive.writestr(name, data)
    layout = check_archive(path)
    assert layout.classes == ["cat", "dog"]
    source = ArchiveSource(path)
    for members in layout.members.values():
        for member in members:
            assert source.read(member.path) == GOOD[member.path.removeprefix("birds/")]
    source.close()
    assert {entry.name.removeprefix("birds/") for entry in check_images(path)} == set(GOOD)


def test_names_that_differ_in_case_are_two_files(tmp_path: Path) -> None:
    layout = check_archive(
        write_zip(tmp_path / "case.zip", GOOD | {"cat/0.PNG": png(7), "Cat/0.png": png(8)} | tree("Cat"))
    )
    assert (layout.classes, layout.total) == (["Cat", "cat", "dog"], 7)


@pytest.mark.parametrize(
    ("form", "encoding", "expected"),
    [
        ("NFC", "utf-8", ["Bär", "猫"]),
        ("NFD", "utf-8", ["Bär", "猫"]),
        ("NFC", "koi8-r", ["≤╧┬┴╦┴", "δ╧█╦┴"]),
        ("NFC", "cp437", ["Bär", "Löwe"]),
    ],
)
def test_names_are_utf8_where_valid_else_cp437_and_composed(
    tmp_path: Path, form: Literal["NFC", "NFD"], encoding: str, expected: list[str]
) -> None:
    kinds = {"utf-8": ["Bär", "猫"], "koi8-r": ["Кошка", "Собака"], "cp437": ["Bär", "Löwe"]}[encoding]
    files = {unicodedata.normalize(form, f"{kind}/{index}.png"): png(index) for kind in kinds for index in range(2)}
    path = raw_zip(tmp_path / "names.zip", {name.encode(encoding): data for name, data in files.items()})
    layout = check_archive(path)
    assert layout.classes == sorted(expected)
    source = ArchiveSource(path)
    assert {source.read(member.path) for members in layout.members.values() for member in members} == {png(0), png(1)}
    source.close()
    assert {entry.name.split("/")[0] for entry in check_images(path)} == set(expected)


def test_two_forms_of_a_name_are_one_class(tmp_path: Path) -> None:
    names = [f"{kind}/{index}.png" for kind in ("Bär", "Löwe") for index in range(2)]
    files = {unicodedata.normalize("NFC", f"train/{name}"): png(1) for name in names}
    files |= {unicodedata.normalize("NFD", f"test/{name}"): png(2) for name in names}
    assert check_archive(write_zip(tmp_path / "forms.zip", files)).classes == ["Bär", "Löwe"]
    folder = write_tree(tmp_path / "forms", files)
    record = add_dataset(tmp_path / "datasets", "bears", str(folder))
    assert record.classes == ["Bär", "Löwe"]
    names = read_files(tmp_path / "datasets", "bears", "test")
    assert names == [unicodedata.normalize("NFC", name) for name in names]


def test_long_names_take_little_memory(tmp_path: Path) -> None:
    path = tmp_path / "deep.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for index in range(4):
            archive.writestr(f"{index}" + "/a" * 30_000 + "/x.png", b"x")
    tracemalloc.start()
    with pytest.raises(BadArchive, match="longer than"):
        check_archive(path)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 16 << 20


def test_an_entry_twice_is_a_clash(tmp_path: Path) -> None:
    path = write_zip(tmp_path / "twice.zip", GOOD)
    with zipfile.ZipFile(path, "a") as archive, pytest.warns(UserWarning, match="Duplicate name"):
        archive.writestr("cat/0.png", png(1))
    with pytest.raises(BadArchive, match="clashes"):
        check_archive(path)


def test_limits_are_told_with_numbers(tmp_path: Path) -> None:
    path = write_zip(tmp_path / "many.zip", GOOD)
    size = len(GOOD["cat/0.png"])
    for limits, message in (
        (Limits(entries=3), "4 entries; at most 3"),
        (Limits(total_bytes=size), f"at most {size:,} are taken"),
        (Limits(entry_bytes=size - 1), f"{size:,} bytes; at most"),
        (Limits(directory_bytes=100), "directory"),
    ):
        with pytest.raises(BadArchive, match=message):
            check_archive(path, limits)


def test_a_bomb_of_many_small_entries_is_refused_as_a_whole(tmp_path: Path) -> None:
    files = {f"cat/{index}.png": b"\0" * 60_000 for index in range(10)}
    with pytest.raises(BadArchive, match="more than 100 times"):
        check_archive(write_zip(tmp_path / "small.zip", {**files, "dog/1.png": b"\0" * 60_000}))


def test_a_lying_zip64_end_is_no_crash(tmp_path: Path) -> None:
    path = write_zip(tmp_path / "lie.zip", GOOD)
    data = path.read_bytes()
    at = data.rindex(b"PK\5\6")
    locator = struct.pack("<4sLQL", b"PK\6\7", 0, 1 << 60, 1)
    path.write_bytes(data[:at] + locator + data[at:])
    with pytest.raises(BadArchive):
        check_archive(path)


def test_all_problems_are_listed_together(tmp_path: Path) -> None:
    path = bad_zip(tmp_path / "many.zip", (entry("../a.png"), b"x"), (entry("/b.png"), b"x"))
    with pytest.raises(BadArchive) as caught:
        check_archive(path)
    assert len(caught.value.detail) == 2


def test_a_good_zip_gives_its_layout(tmp_path: Path) -> None:
    files = tree("set/train/cat", "set/train/dog", "set/test/cat", "set/test/dog")
    junk = {"__MACOSX/set/train/cat/._0.png": b"\0" * 200, "set/.DS_Store": b"\0"}
    layout = check_archive(write_zip(tmp_path / "good.zip", files | junk, ["set", "set/train", "set/train/cat"]))
    assert layout.classes == ["cat", "dog"]
    assert [member.path for member in layout.members["test"]] == sorted(name for name in files if "/test/" in name)


def test_members_are_read_and_damage_is_found(tmp_path: Path) -> None:
    path = tmp_path / "set.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        archive.writestr("cat/0.png", GOOD["cat/0.png"])
        archive.writestr("cat/1.png", GOOD["cat/1.png"])
    data = bytearray(path.read_bytes())
    data[data.index(GOOD["cat/1.png"]) + 500] ^= 1
    path.write_bytes(data)
    source = ArchiveSource(path)
    assert source.read("cat/0.png") == GOOD["cat/0.png"]
    for name in ("cat/1.png", "cat/2.png"):
        with pytest.raises(UnreadableImage):
            source.read(name)
    source.close()
    source.close()


def test_structure_errors_are_told_apart(tmp_path: Path) -> None:
    with pytest.raises(BadLayout) as caught:
        check_archive(write_zip(tmp_path / "one.zip", tree("cat")))
    assert caught.value.as_dict()["code"] == "bad_layout"
    buffer = io.BytesIO(b"PK")
    (tmp_path / "two.zip").write_bytes(buffer.getvalue())
    with pytest.raises(BadArchive):
        check_archive(tmp_path / "two.zip")
